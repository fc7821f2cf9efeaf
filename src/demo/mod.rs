//! `ringway demo`: the whole thing on one machine, with backends of its own, so that there is something to try within a
//! second. It runs through the same code as `run`; only the configuration and the backends are made up.

mod backends;
mod config;
mod tour;

use std::fs::{self, Permissions};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;

use ringway_admin::{Ending, Origin};
use ringway_config::Admin;
use socket2::{Domain, Protocol, Socket, Type};
use tempfile::TempDir;

use crate::logs;

/// Where the demo listens when it is not told.
const USUAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// The longest path of a folder with an admin socket: the system's bound is 107 bytes for the socket's.
const FOLDER_BYTES_MAX: usize = 107 - "/".len() - Admin::SOCKET_NAME.len();

/// Try Ringway: a proxy with small backends of its own.
///
/// Prints the configuration that it runs and curl lines to try, each with what it shows. Every request that it serves
/// appears as a line of the access log. Ctrl-C ends it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Where to listen; without it 127.0.0.1:8080, or a free port when that is taken
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,

    /// Print the configuration and nothing else; the ports of the backends are examples
    #[arg(long)]
    print_config: bool,
}

const EXAMPLES: &str = "\
Examples:
  ringway demo
  ringway demo --listen 127.0.0.1:9000
  ringway demo --print-config > ringway.toml";

pub(crate) fn run(args: &Args) -> ExitCode {
    if args.print_config {
        let folder = Path::new(config::EXAMPLE_FOLDER);
        crate::print(config::text(args.listen.unwrap_or(USUAL), folder, &backends::Addresses::EXAMPLES));
        return ExitCode::SUCCESS;
    }
    logs::start(logs::Format::Text);
    match prepare(args.listen) {
        Ok(prepared) => serve(&prepared),
        Err(error) => {
            crate::complain(format_args!("cannot start the demo: {error}"));
            crate::CANNOT_START.into()
        }
    }
}

/// What the demo needs beside the proxy.
struct Prepared {
    listen: SocketAddr,
    _held: Socket,
    addresses: backends::Addresses,
    /// For the admin socket and files; it goes with the demo.
    folder: TempDir,
}

fn prepare(wanted: Option<SocketAddr>) -> io::Result<Prepared> {
    let (listen, held) = reserve(wanted)?;
    let folder = new_folder()?;
    let files = folder.path().join(config::FILES_FOLDER);
    fs::create_dir(&files)?;
    fs::write(files.join("letter.txt"), "Dear reader,\nthis is a file.\n")?;
    Ok(Prepared { listen, _held: held, addresses: backends::start()?, folder })
}

/// A folder for the admin socket, which may not be everybody's: in the usual place, or in /tmp where TMPDIR names none or
/// one whose path is too long for a socket.
fn new_folder() -> io::Result<TempDir> {
    let new_in = |parent: &Path| {
        let only_own = Permissions::from_mode(0o700);
        tempfile::Builder::new().prefix("ringway-demo-").permissions(only_own).tempdir_in(parent)
    };
    let usual = new_in(&std::env::temp_dir());
    let fits = |folder: &TempDir| folder.path().as_os_str().len() <= FOLDER_BYTES_MAX;
    usual.ok().filter(fits).map_or_else(|| new_in(Path::new("/tmp")), Ok)
}

fn serve(Prepared { listen, addresses, folder, .. }: &Prepared) -> ExitCode {
    let text = config::text(*listen, folder.path(), addresses);
    let welcome = welcome(*listen, folder.path(), &text);
    let origin = Origin::Text { name: "the demo's configuration".to_owned(), text };
    match ringway_admin::serve(origin, || crate::print(welcome)) {
        // Streams of the page are open for as long as a browser is: Ctrl-C is meant to cut them.
        Ending::DrainTimeout | Ending::Cut => ExitCode::SUCCESS,
        ending => crate::exit_code(ending),
    }
}

/// An address with a port of its own, the one wanted, or a free one where any will do; and what keeps it from others until the
/// proxy listens there. Several sockets that reuse addresses may be bound to one port, of which one may listen.
fn reserve(wanted: Option<SocketAddr>) -> io::Result<(SocketAddr, Socket)> {
    match wanted {
        Some(address) => {
            bind(address).map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))
        }
        None => bind(USUAL).or_else(|_taken| {
            let (free, held) = bind(SocketAddr::new(USUAL.ip(), 0))?;
            tracing::info!("{USUAL} is taken: using {free}");
            Ok((free, held))
        }),
    }
}

fn bind(address: SocketAddr) -> io::Result<(SocketAddr, Socket)> {
    let held = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    held.set_reuse_address(true)?;
    held.bind(&address.into())?;
    let bound = held.local_addr()?.as_socket().unwrap_or(address);
    Ok((bound, held))
}

/// Everything that is printed once the proxy serves.
fn welcome(listen: SocketAddr, folder: &Path, config: &str) -> String {
    let base = format!("http://{}", reachable(listen));
    let rule = "-".repeat(80);
    let socket = folder.join(Admin::SOCKET_NAME);
    let stops: String = tour::stops(&base).iter().map(tour::Stop::to_string).collect();
    format!(
        "\n{rule}\n{config}{rule}\n\
         That was the configuration. It is served on {base} now. In another terminal:\n\n\
         {stops}Or open {base}/ in a browser. Or ask what becomes of a request, and why:\n\n\
         ringway demo --print-config > demo.toml\n\
         ringway explain --config demo.toml http://api.localhost/v2/users\n\n\
         Or what it does now, which backends are there, and why one is not:\n\n\
         ringway status --watch --socket {}\n\n\
         Ctrl-C ends the demo. Access log:\n\n",
        socket.display()
    )
}

/// An address that a client of this machine can connect to.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let loopback = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(loopback, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_is_reached_by_loopback() {
        let reached = |listen: &str| reachable(listen.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(reached("[::]:80"), "[::1]:80");
        assert_eq!(reached("192.0.2.1:80"), "192.0.2.1:80");
    }

    #[test]
    fn a_taken_address_that_was_asked_for_is_an_error() {
        let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = taken.local_addr().unwrap();
        let error = reserve(Some(address)).unwrap_err();
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
}
