//! The configuration behind `ringway run --listen ADDRESS --to URL`, as the file that a person would have written.

use crate::address;
use crate::problem::Fault;

/// Writes the configuration that sends everything from the addresses of `listen` to the servers of `to`: one URL as
/// a target, which may have a base path, several as an upstream that takes them in turn.
///
/// # Errors
/// The address or the URL that is wrong, and why; or that one of the two is missing.
///
/// ```
/// let text = ringway_config::one_liner(&[":8080"], &["http://127.0.0.1:3000"]).unwrap();
/// assert!(text.contains(r#"target = "http://127.0.0.1:3000""#));
/// ```
pub fn one_liner(listen: &[&str], to: &[&str]) -> Result<String, String> {
    if listen.is_empty() || to.is_empty() {
        return Err("an address to listen on and a URL to send to are both needed".to_owned());
    }
    let mut text = String::new();
    for listen in listen {
        address::listen_address(listen).map_err(sentence)?;
        text.push_str(&format!("[[listeners]]\naddress = {}\n\n", quoted(listen)));
    }
    text.push_str(&destination(to)?);
    Ok(text)
}

fn destination(to: &[&str]) -> Result<String, String> {
    if let [target] = to
        && !target.starts_with("unix:")
    {
        address::target(target).map_err(sentence)?;
        return Ok(format!("[[rules]]\nname = \"all\"\npath = \"/*\"\ntarget = {}\n", quoted(target)));
    }
    let mut backends = String::new();
    for url in to {
        address::backend(url).map_err(sentence)?;
        backends.push_str(&format!("    {{ url = {} }},\n", quoted(url)));
    }
    let upstream = format!("[[upstreams]]\nname = \"to\"\nbackends = [\n{backends}]\n");
    Ok(format!("{upstream}\n[[rules]]\nname = \"all\"\npath = \"/*\"\nupstream = \"to\"\n"))
}

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn sentence(fault: Fault) -> String {
    match fault.help {
        Some(help) => format!("{}: {help}", fault.message),
        None => fault.message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Compiler, Source};

    fn upstreams(listen: &[&str], to: &[&str]) -> Vec<String> {
        let text = one_liner(listen, to).unwrap();
        let compiled = Compiler::new().compile(&Source { name: "-", text: &text }).unwrap();
        assert_eq!(compiled.snapshot.listeners.len(), listen.len());
        assert!(compiled.warnings.is_empty());
        compiled
            .snapshot
            .upstreams
            .iter()
            .flat_map(|upstream| &upstream.backends)
            .map(|backend| backend.url.clone())
            .collect()
    }

    #[test]
    fn it_compiles_without_a_warning() {
        assert_eq!(upstreams(&[":8080"], &["http://127.0.0.1:3000/base"]), ["http://127.0.0.1:3000"]);
        assert_eq!(
            upstreams(&[":8080", "unix:/run/a"], &["http://a", "unix:/run/b"]),
            ["http://a:80", "unix:/run/b"]
        );
        assert_eq!(upstreams(&["[::1]:0"], &["unix:/run/\"quoted\\"]), ["unix:/run/\"quoted\\"]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert!(one_liner(&[":8080"], &["127.0.0.1:3000"]).unwrap_err().contains("http://127.0.0.1:3000"));
        assert!(one_liner(&["8080"], &["http://a"]).unwrap_err().contains(":8080"));
        assert!(one_liner(&[":8080"], &["http://a/base", "http://b"]).unwrap_err().contains("no path"));
        assert!(one_liner(&[], &["http://a"]).is_err() && one_liner(&[":80"], &[]).is_err());
    }
}
