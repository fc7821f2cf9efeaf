//! The files that tell how the system looks names up, for those who do without its resolver: resolv.conf(5) and hosts(5).

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hickory_resolver::system_conf::parse_resolv_conf;

use super::search::Search;

/// The port that name servers of resolv.conf listen on.
const DNS_PORT: u16 = 53;

/// Where the files are.
pub(super) struct Files {
    pub(super) resolv_conf: PathBuf,
    pub(super) hosts: PathBuf,
}

impl Default for Files {
    fn default() -> Self {
        Self { resolv_conf: "/etc/resolv.conf".into(), hosts: "/etc/hosts".into() }
    }
}

/// Tells one content of a file from the next: its inode, its size, and when it was changed.
pub(super) type Stamp = Option<(u64, u64, i64, i64)>;

impl Files {
    /// Differs from what it was before when a file came, went or changed.
    pub(super) fn stamps(&self) -> [Stamp; 2] {
        [&self.resolv_conf, &self.hosts].map(|path| stamp(path))
    }
}

fn stamp(path: &Path) -> Stamp {
    let file = fs::metadata(path).ok()?;
    Some((file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
}

/// What resolv.conf says.
pub(super) struct ResolvConf {
    /// The name servers, in order; at least one.
    pub(super) servers: Vec<SocketAddr>,
    pub(super) search: Search,
    /// How long a server is waited for.
    pub(super) timeout: Duration,
}

impl ResolvConf {
    /// # Errors
    /// Why the file cannot be read, or names no server.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let (config, options) =
            parse_resolv_conf(text).map_err(|error| format!("{}: {error}", path.display()))?;
        let servers = config.name_servers().iter().map(|server| SocketAddr::new(server.ip, DNS_PORT));
        let search = Search { domains: config.search().to_vec(), dots: options.ndots };
        Ok(Self { servers: servers.collect(), search, timeout: options.timeout })
    }
}

/// The hosts file, by lower-case name.
#[derive(Default)]
pub(super) struct Hosts(HashMap<String, Vec<IpAddr>>);

impl Hosts {
    /// Reads the file; one that is not there is empty.
    ///
    /// # Errors
    /// Why the file cannot be read.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        match fs::read(path) {
            Ok(bytes) => Ok(Self::parse(&String::from_utf8_lossy(&bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(format!("cannot read {}: {error}", path.display())),
        }
    }

    /// Lines that begin with no address, or with one of a link (`fe80::1%eth0`), are passed over.
    fn parse(text: &str) -> Self {
        let mut hosts: HashMap<String, Vec<IpAddr>> = HashMap::new();
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            if let Some(address) = words.next().and_then(|word| word.parse().ok()) {
                words.for_each(|name| hosts.entry(name.to_ascii_lowercase()).or_default().push(address));
            }
        }
        Self(hosts)
    }

    /// The addresses of a name, which is in lower case, if the file has it.
    pub(super) fn addresses(&self, host: &str) -> Option<&[IpAddr]> {
        self.0.get(host.strip_suffix('.').unwrap_or(host)).map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_as_hosts_5_says() {
        let text = "# a comment\n127.0.0.1\tlocalhost  Here.Test # another\n\n::1 localhost\nfe80::1%lo link.test\n\
                    not-an-address x.test\n192.0.2.1\n192.0.2.2 there.test";
        let hosts = Hosts::parse(text);
        let addresses = |host| {
            let found = hosts.addresses(host).unwrap_or_default();
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(addresses("localhost"), ["127.0.0.1", "::1"]);
        assert_eq!(addresses("here.test"), ["127.0.0.1"]);
        assert_eq!(addresses("there.test."), ["192.0.2.2"]);
        for absent in ["x.test", "link.test", "another", "192.0.2.1", "comment"] {
            assert_eq!(hosts.addresses(absent), None, "{absent}");
        }
    }

    #[test]
    fn resolv_conf_gives_servers_search_list_and_timeout() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        assert!(ResolvConf::read(&path).is_err_and(|why| why.contains("cannot read")));
        let text = "nameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch one.test two.test\noptions ndots:3 timeout:4\n";
        fs::write(&path, text).unwrap();
        let conf = ResolvConf::read(&path).unwrap();
        assert_eq!(conf.servers, ["192.0.2.53:53", "[2001:db8::53]:53"].map(|text| text.parse().unwrap()));
        let domains: Vec<String> = conf.search.domains.iter().map(ToString::to_string).collect();
        assert_eq!((domains.as_slice(), conf.search.dots), (&["one.test".into(), "two.test".into()][..], 3));
        assert_eq!(conf.timeout, Duration::from_secs(4));
        fs::write(&path, "search one.test\n").unwrap();
        assert!(ResolvConf::read(&path).is_err());
    }

    #[test]
    fn a_file_that_comes_changes_or_goes_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let files =
            Files { hosts: folder.path().join("hosts"), resolv_conf: folder.path().join("resolv.conf") };
        let none = files.stamps();
        fs::write(&files.hosts, "127.0.0.1 a").unwrap();
        let came = files.stamps();
        fs::write(&files.hosts, "127.0.0.1 a b").unwrap();
        let changed = files.stamps();
        assert!(none != came && came != changed && changed == files.stamps());
        fs::remove_file(&files.hosts).unwrap();
        assert_eq!(files.stamps(), none);
    }
}
