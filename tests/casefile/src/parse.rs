//! The text of a case file.

use crate::{Case, DEFAULT_REQUEST, End, Kind, Message, literal};

/// Reads the text of a case file; `file` stands in messages.
///
/// # Errors
/// What is wrong, with the line.
pub fn parse(file: &str, text: &str) -> Result<Vec<Case>, String> {
    let mut reader = Reader { file, kind: None, cases: Vec::new(), section: Section::None };
    for (index, line) in text.lines().enumerate() {
        let checked = reader.line(index + 1, line);
        checked.map_err(|problem| format!("{file}:{}: {problem}", index + 1))?;
    }
    for case in &reader.cases {
        check(case).map_err(|problem| format!("{file}:{}: {problem}", case.line))?;
    }
    Ok(reader.cases)
}

struct Reader<'a> {
    file: &'a str,
    kind: Option<Kind>,
    cases: Vec<Case>,
    section: Section,
}

/// Where indented lines go.
#[derive(Clone, Copy, PartialEq)]
enum Section {
    None,
    Input,
    Request,
    Head,
    Body,
    Trailers,
}

impl Reader<'_> {
    fn line(&mut self, number: usize, line: &str) -> Result<(), String> {
        if line.ends_with([' ', '\t']) {
            return Err("white space at the end of a line: write it as \\x20 or \\t".to_owned());
        }
        if let Some(content) = line.strip_prefix("  ") {
            return self.content(content);
        }
        if let Some(name) = line.strip_prefix("== ") {
            return self.begin(number, name);
        }
        if let Some(comment) = line.strip_prefix('#') {
            self.comment(comment);
            return Ok(());
        }
        if line.is_empty() { Ok(()) } else { self.directive(line) }
    }

    fn begin(&mut self, number: usize, name: &str) -> Result<(), String> {
        let kind = self.kind.ok_or("a file begins with `kind request` or `kind response`")?;
        let name = format!("{}: {name}", self.file);
        if self.cases.iter().any(|case| case.name == name) {
            return Err("this name is taken".to_owned());
        }
        self.section = Section::None;
        self.cases.push(Case {
            kind,
            name,
            line: number,
            rule: String::new(),
            input: Vec::new(),
            request: Vec::new(),
            closes: false,
            messages: Vec::new(),
            end: End::Clean,
            backend_kept: None,
        });
        Ok(())
    }

    fn comment(&mut self, comment: &str) {
        if let Some(case) = self.cases.last_mut() {
            case.rule.push_str(comment.trim());
            case.rule.push('\n');
        }
    }

    fn content(&mut self, content: &str) -> Result<(), String> {
        let section = self.section;
        let bytes = literal::read(content)?;
        let case = self.cases.last_mut().ok_or("bytes before the first case")?;
        let message = case.messages.last_mut();
        let place = match (section, message) {
            (Section::Input, _) => &mut case.input,
            (Section::Request, _) => &mut case.request,
            (Section::Head, Some(message)) => &mut message.head,
            (Section::Body, Some(message)) => &mut message.body,
            (Section::Trailers, Some(message)) => &mut message.trailers,
            _ => return Err("bytes outside a section".to_owned()),
        };
        place.extend(bytes);
        Ok(())
    }

    fn directive(&mut self, line: &str) -> Result<(), String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let ["kind", kind] = words[..] {
            self.kind = Some(match kind {
                "request" => Kind::Request,
                "response" => Kind::Response,
                _ => return Err(format!("no kind: {kind}")),
            });
            return Ok(());
        }
        let case = self.cases.last_mut().ok_or("a directive before the first case")?;
        self.section = match (&words[..], case.kind) {
            (["input"], _) => Section::Input,
            (["request"], Kind::Response) => Section::Request,
            (["upstream"], Kind::Request) | (["client"], Kind::Response) => {
                case.messages.push(Message::default());
                Section::Head
            }
            (["body"], _) => Section::Body,
            (["trailers"], _) => Section::Trailers,
            _ => return ending(case, &words, line),
        };
        Ok(())
    }
}

/// Reads the directives that have no bytes below them.
fn ending(case: &mut Case, words: &[&str], line: &str) -> Result<(), String> {
    let status = |text: &str| text.parse::<u16>().map_err(|_| format!("no status: {text}"));
    match *words {
        ["closes"] => case.closes = true,
        ["backend", "kept"] => case.backend_kept = Some(true),
        ["backend", "closed"] => case.backend_kept = Some(false),
        ["refused", detail, code] => {
            case.end = End::Refused { detail: detail.to_owned(), status: status(code)? }
        }
        ["broken", detail, code] => {
            case.end = End::Broken { detail: detail.to_owned(), status: status(code)? }
        }
        ["broken", detail] => case.end = End::Broken { detail: detail.to_owned(), status: 0 },
        ["answered", code] => case.end = End::Answered { status: status(code)? },
        ["incomplete"] => case.end = End::Incomplete,
        _ => return Err(format!("no directive: {line}")),
    }
    Ok(())
}

fn check(case: &Case) -> Result<(), String> {
    if case.rule.trim().is_empty() {
        return Err("a case names its rule in a comment".to_owned());
    }
    if case.messages.is_empty() && case.end == End::Clean {
        return Err("a case says what must come of it".to_owned());
    }
    match &case.end {
        End::Broken { .. } if case.messages.is_empty() => Err("a broken body needs its head".to_owned()),
        _ => Ok(()),
    }
}

impl Case {
    /// What the client of a response case sends.
    pub fn client_request(&self) -> &[u8] {
        if self.request.is_empty() { DEFAULT_REQUEST } else { &self.request }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_two_cases() {
        let text = "kind request\n\n== one\n# RFC 9112 section 2.2\ninput\n  GET / HTTP/1.1\\r\\n\n  \\r\\n\nrefused missing_host 400\n\n\
                    == two\n# a rule\ninput\n  x\ncloses\nupstream\n  head\nbody\n  {\"b\" * 3}\ntrailers\n  T: u\\r\\n\n";
        let cases = parse("f.case", text).unwrap();
        assert_eq!(cases[0].input, b"GET / HTTP/1.1\r\n\r\n");
        assert_eq!(cases[0].end, End::Refused { detail: "missing_host".to_owned(), status: 400 });
        assert_eq!((cases[0].name.as_str(), cases[0].line), ("f.case: one", 3));
        let message =
            Message { head: b"head".to_vec(), body: b"bbb".to_vec(), trailers: b"T: u\r\n".to_vec() };
        assert_eq!((&cases[1].messages[..], cases[1].closes), (&[message][..], true));
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        let wrong = [
            ("== a\n", "f:1: a file begins"),
            ("kind request\n== a\ninput\n  x\nincomplete\n", "f:2: a case names its rule"),
            ("kind request\n== a\n# r\ninput\n  x\n", "f:2: a case says what"),
            ("kind request\n== a\n# r\n  x\n", "f:4: bytes outside"),
            ("kind request\n== a\n# r\nclient\n", "f:4: no directive"),
            ("kind request\n== a\n# r\nincomplete\n== a\n", "f:5: this name"),
            ("kind request\n== a \n", "f:2: white space"),
        ];
        for (text, start) in wrong {
            let problem = parse("f", text).unwrap_err();
            assert!(problem.starts_with(start), "{problem}");
        }
    }
}
