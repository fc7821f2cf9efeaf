//! Variables in a configuration's values: `${NAME}` and `${NAME:-default}`. Whoever compiles a configuration brings the
//! values; this crate does not look at the environment.

use std::collections::BTreeMap;

use crate::problem::Fault;

/// The values of variables, by name: the environment, as a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables(BTreeMap<String, String>);

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Variables {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(values: I) -> Self {
        Self(values.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// A text after its variables were replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expanded {
    pub(crate) text: String,
    /// The variables that have neither a value nor a default, in order, each once; they stand in the text as they were
    /// written.
    pub(crate) unset: Vec<String>,
}

/// Replaces the variables of `text`: `${NAME}`, and `${NAME:-default}`, whose default is taken when the variable is unset or
/// empty, as shells do. `$${` is a literal `${`. One pass: a value is never read again.
///
/// # Errors
/// A `${` that begins no variable.
pub(crate) fn expanded(text: &str, variables: &Variables) -> Result<Expanded, Fault> {
    let mut expanded = Expanded::default();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, reference) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            expanded.text.push_str(before);
            expanded.text.push_str("${");
            rest = reference.get(2..).unwrap_or_default();
            continue;
        }
        expanded.text.push_str(before);
        let read = Reference::read(reference)?;
        expanded.replace(&read, variables);
        rest = reference.get(read.written.len()..).unwrap_or_default();
    }
    expanded.text.push_str(rest);
    Ok(expanded)
}

impl Expanded {
    fn replace(&mut self, reference: &Reference<'_>, variables: &Variables) {
        let value = variables.0.get(reference.name).map(String::as_str);
        match (value, reference.default) {
            (None | Some(""), Some(default)) => self.text.push_str(default),
            (Some(value), _) => self.text.push_str(value),
            (None, None) => {
                self.text.push_str(reference.written);
                if !self.unset.iter().any(|name| name == reference.name) {
                    self.unset.push(reference.name.to_owned());
                }
            }
        }
    }
}

/// One `${…}`.
struct Reference<'a> {
    written: &'a str,
    name: &'a str,
    default: Option<&'a str>,
}

const HELP: &str = "write `${NAME}` or `${NAME:-default}` for a variable, `$${` for the text `${`";

impl<'a> Reference<'a> {
    /// Reads the one that `text` begins with.
    fn read(text: &'a str) -> Result<Self, Fault> {
        let Some(inner) = text.strip_prefix("${").and_then(|rest| rest.split('}').next()) else {
            return Err(Fault::new("this is no variable").help(HELP));
        };
        let written = text.get(..inner.len() + "${}".len());
        let Some(written) = written else {
            return Err(Fault::new("a `${` has no `}`").help(HELP));
        };
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        if default.is_some_and(|default| default.contains("${")) {
            let fault = Fault::new(format!("the default of `${{{name}:-…}}` has a variable in it"));
            return Err(fault.help("a default is plain text, up to the first `}`"));
        }
        if !is_name(name) {
            return Err(Fault::new(format!("`{written}` is no variable")).help(HELP));
        }
        Ok(Self { written, name, default })
    }
}

fn is_name(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && text.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> Variables {
        [("HOST", "app.example"), ("EMPTY", ""), ("NESTED", "${HOST}"), ("_a1", "x")].into_iter().collect()
    }

    fn text(written: &str) -> String {
        let expanded = expanded(written, &variables()).expect(written);
        assert_eq!(expanded.unset, [""; 0], "{written}");
        expanded.text
    }

    #[test]
    fn values_and_defaults() {
        for (written, expected) in [
            ("", ""),
            ("no variable, $HOME, a $ and a {b}", "no variable, $HOME, a $ and a {b}"),
            ("http://${HOST}:3000/", "http://app.example:3000/"),
            ("${HOST}${_a1}${HOST}", "app.examplexapp.example"),
            ("${HOST:-other}", "app.example"),
            ("${EMPTY}", ""),
            ("${EMPTY:-d}", "d"),
            ("${UNSET:-http://127.0.0.1:80/a:-b}/x", "http://127.0.0.1:80/a:-b/x"),
            ("${UNSET:-}", ""),
            ("${UNSET:-$}${UNSET:-é{}", "$é{"),
            ("ä${HOST}ö", "äapp.exampleö"),
        ] {
            assert_eq!(text(written), expected, "{written}");
        }
    }

    #[test]
    fn a_value_is_never_read_again() {
        assert_eq!(text("${NESTED}"), "${HOST}");
        assert_eq!(text("${UNSET:-$}{HOST}"), "${HOST}");
    }

    #[test]
    fn two_dollars_make_a_literal() {
        assert_eq!(text("$${HOST}"), "${HOST}");
        assert_eq!(text("$$${HOST}"), "$${HOST}");
        assert_eq!(text("$${"), "${");
        assert_eq!(text("$$"), "$$");
    }

    #[test]
    fn what_is_unset_stays_and_is_told_once() {
        let expanded = expanded("${B}/${A}/${HOST}/${B}", &variables()).unwrap();
        assert_eq!(expanded.text, "${B}/${A}/app.example/${B}");
        assert_eq!(expanded.unset, ["B", "A"]);
    }

    #[test]
    fn what_is_no_variable_is_refused_with_a_hint() {
        for written in
            ["${", "a${HOST", "${}", "${:-x}", "${1}", "${A B}", "${A-b}", "${A:=b}", "${Ä}", "$a${"]
        {
            let fault = expanded(written, &variables()).expect_err(written);
            assert!(fault.help.is_some_and(|help| help.contains("$${")), "{written}");
        }
        let fault = expanded("${A:-${B}}", &variables()).unwrap_err();
        assert!(fault.message.contains("${A:-…}"), "{fault:?}");
    }
}
