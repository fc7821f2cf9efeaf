//! The tables that stand once: server, forwarded, limits, timeouts, access log, admin, dns.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use ipnet::IpNet;

use super::{Context, is_token, unset};
use crate::address;
use crate::problem::{Fault, Finding, Pointer};
use crate::schema;
use crate::snapshot::{
    AccessLog, AccessLogDestination, AccessLogFormat, Admin, Dns, DriverChoice, ForwardedSwitches, Limits,
    Resolver, Server, Timeouts, TrustedProxies, Workers,
};
use crate::value::{AutoOr, Size, Span, TextOrFalse};
use crate::variables::expanded;

/// Fields that Ringway sets or reads itself: none of them can carry the request id.
const OWN_FIELDS: &[&str] = &[
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "expect",
    "date",
    "via",
    "max-forwards",
    "forwarded",
    "x-real-ip",
    "x-vhost-tenant",
    "x-base",
    "authorization",
    "cookie",
    "set-cookie",
    "location",
    "content-type",
];

/// A request id's field name has at most this many bytes: it is written into every head.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// The settings, as they run.
pub(super) struct Settings {
    pub(super) server: Server,
    pub(super) forwarded: ForwardedSwitches,
    pub(super) limits: Limits,
    pub(super) timeouts: Timeouts,
    pub(super) access_log: AccessLog,
    pub(super) admin: Admin,
    pub(super) dns: Dns,
    /// The longest timeout that a rule may set.
    pub(super) max_timeout: Span,
    /// The budget of one rule list's tables.
    pub(super) rule_table_bytes: usize,
}

impl Settings {
    pub(super) fn of(written: &schema::Config, context: &mut Context<'_>) -> Self {
        let access_log = access_log(&written.access_log, context);
        let admin = admin(&written.admin, context);
        let findings = &mut context.findings;
        let schema::Forwarded { x_forwarded, forwarded } = written.forwarded;
        Self {
            server: server(&written.server, findings),
            forwarded: ForwardedSwitches { x_forwarded, forwarded },
            limits: limits(&written.limits, findings),
            timeouts: timeouts(&written.timeouts),
            access_log,
            admin,
            dns: dns(&written.dns, findings),
            max_timeout: written.limits.max_timeout,
            rule_table_bytes: usize::try_from(written.limits.rule_table.0).unwrap_or(usize::MAX),
        }
    }
}

fn server(written: &schema::Server, findings: &mut Vec<Finding>) -> Server {
    let at = Pointer::default().key("server");
    Server {
        workers: match written.workers {
            AutoOr::Auto => Workers::Auto,
            AutoOr::Number(count) => {
                usize::try_from(count).ok().and_then(NonZeroUsize::new).map_or(Workers::Auto, Workers::Count)
            }
        },
        pin: written.pin,
        driver: match written.driver {
            schema::Driver::Auto => DriverChoice::Auto,
            schema::Driver::IoUring => DriverChoice::IoUring,
            schema::Driver::Epoll => DriverChoice::Epoll,
        },
        drain_timeout: written.drain_timeout.0,
        max_connections: written.max_connections,
        trusted_proxies: trusted_proxies(&written.trusted_proxies, &at.key("trusted_proxies"), findings),
        request_id: request_id(&written.request_id, at.key("request_id"), findings),
        via: written.via,
        allow_trace: written.allow_trace,
    }
}

fn trusted_proxies(written: &[String], at: &Pointer, findings: &mut Vec<Finding>) -> TrustedProxies {
    let mut trusted = TrustedProxies::default();
    for (index, text) in written.iter().enumerate() {
        if text == "unix" {
            trusted.unix = true;
            continue;
        }
        match network(text) {
            Err(fault) => findings.push(Finding::fault(at.index(index), fault)),
            Ok(network) => {
                if network.addr() != network.network() {
                    let message =
                        format!("{text:?} has bits behind its prefix; the network is {}", network.trunc());
                    findings.push(Finding::warning(at.index(index), message));
                }
                trusted.networks.push(network.trunc());
            }
        }
    }
    trusted
}

/// Reads a network, or an address as a network of one. IPv4 addresses in IPv6 are read as what they are.
fn network(text: &str) -> Result<IpNet, Fault> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address.to_canonical()));
    }
    text.parse().map_err(|_| {
        Fault::new(format!("{text:?} is no address and no network"))
            .help("write \"192.0.2.7\", \"10.0.0.0/8\", \"2001:db8::/32\" or \"unix\"")
    })
}

fn request_id(written: &TextOrFalse, at: Pointer, findings: &mut Vec<Finding>) -> Option<String> {
    let TextOrFalse::Text(written) = written else {
        return None;
    };
    let name = written.to_ascii_lowercase();
    if !is_token(&name) {
        let fault = Finding::error(at, format!("{written:?} is no field name"));
        findings.push(fault.help("write a name such as \"x-request-id\", or false"));
    } else if name.len() > REQUEST_ID_BYTES_MAX {
        findings
            .push(Finding::error(at, format!("the field's name has at most {REQUEST_ID_BYTES_MAX} bytes")));
    } else if OWN_FIELDS.contains(&&*name)
        || name.starts_with("x-forwarded-")
        || name.starts_with("sec-websocket-")
    {
        findings.push(Finding::error(at, format!("the field `{name}` has a meaning of its own")));
    }
    Some(name)
}

fn limits(written: &schema::Limits, findings: &mut Vec<Finding>) -> Limits {
    if written.request_line > written.request_head {
        let message = format!(
            "a request line of {} does not fit into a request head of {}",
            written.request_line, written.request_head
        );
        findings.push(Finding::error(Pointer::default().key("limits").key("request_line"), message));
    }
    // The schema's ranges are far below 32 bits; only what was refused already could be cut here.
    let bytes = |size: Size| u32::try_from(size.0).unwrap_or(u32::MAX);
    Limits {
        wire: ringway_wire::Limits {
            request_line_bytes: bytes(written.request_line),
            head_bytes: bytes(written.request_head),
            fields: written.fields,
            chunk_line_bytes: bytes(written.chunk_line),
            trailer_bytes: bytes(written.trailers),
            trailer_fields: written.trailer_fields,
        },
        max_request_body_bytes: written.max_request_body.0,
        rate_limit_bytes: written.rate_limit_memory.0,
    }
}

fn timeouts(written: &schema::Timeouts) -> Timeouts {
    Timeouts {
        client_head: written.head.0,
        client_idle: written.idle.0,
        client_body: written.body.0,
        client_write: written.write.0,
        connect: written.connect.0,
        response: written.response.0,
        upstream_body: written.upstream_body.0,
        upstream_idle: written.upstream_idle.0,
        tunnel_idle: written.tunnel_idle.0,
    }
}

fn access_log(written: &schema::AccessLog, context: &mut Context<'_>) -> AccessLog {
    let at = Pointer::default().key("access_log").key("path");
    let path = file_path(&written.path, &at, context);
    let findings = &mut context.findings;
    if path.is_empty() || path.contains('\0') {
        let finding = Finding::error(at, format!("{path:?} is no file"));
        findings.push(finding.help("write \"off\", \"stdout\", \"stderr\" or a file"));
    } else if path.ends_with('/') {
        findings.push(Finding::error(at, "this is a folder: the log goes to a file"));
    }
    AccessLog {
        destination: match &*path {
            "off" => AccessLogDestination::Off,
            "stdout" => AccessLogDestination::Stdout,
            "stderr" => AccessLogDestination::Stderr,
            path => AccessLogDestination::File(PathBuf::from(path)),
        },
        format: match written.format {
            schema::LogFormat::Json => AccessLogFormat::Json,
            schema::LogFormat::Common => AccessLogFormat::Common,
        },
        sample: written.sample,
    }
}

fn admin(written: &schema::Admin, context: &mut Context<'_>) -> Admin {
    let Some(written) = &written.data_dir else {
        return Admin::default();
    };
    let at = Pointer::default().key("admin").key("data_dir");
    let path = file_path(written, &at, context);
    let admin = Admin { data_dir: Some(PathBuf::from(&path)) };
    if path.is_empty() || path.contains('\0') {
        let finding = Finding::error(at, format!("{path:?} is no folder"));
        context.findings.push(finding.help("leave `data_dir` out for no admin socket"));
    } else if let Some(fault) = admin.socket().and_then(|socket| address::check_socket_path(&socket).err()) {
        context.findings.push(Finding::fault(at, fault));
    }
    admin
}

fn dns(written: &schema::Dns, findings: &mut Vec<Finding>) -> Dns {
    let at = Pointer::default().key("dns").key("servers");
    let resolver = match written.resolver {
        schema::Resolver::System => Resolver::System,
        schema::Resolver::Dns => Resolver::Dns,
    };
    if resolver == Resolver::System && !written.servers.is_empty() {
        let finding =
            Finding::error(at.clone(), "the system's resolver asks the servers of the system").on_key();
        findings.push(finding.help("write resolver = \"dns\" beside it, or leave `servers` out"));
    }
    let mut servers = Vec::with_capacity(written.servers.len());
    for (index, text) in written.servers.iter().enumerate() {
        match address::name_server(text) {
            Err(fault) => findings.push(Finding::fault(at.index(index), fault)),
            Ok(server) if servers.contains(&server) => {
                findings
                    .push(Finding::error(at.index(index), format!("{server} stands in this list already")));
            }
            Ok(server) => servers.push(server),
        }
    }
    Dns { resolver, servers }
}

/// A file's path with its variables replaced. There is no file without them: one that is not set is an error.
fn file_path(written: &str, at: &Pointer, context: &mut Context<'_>) -> String {
    match expanded(written, context.variables) {
        Ok(path) => {
            context.findings.extend(path.unset.iter().map(|variable| unset(variable, "", at)));
            path.text
        }
        Err(fault) => {
            context.findings.push(Finding::fault(at.clone(), fault));
            written.to_owned()
        }
    }
}
