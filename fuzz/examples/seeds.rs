//! Writes the seeds of all targets from the case files and the table of patterns: `fuzz/corpus/TARGET/`.

use ringway_casefile::{Case, Kind};
use serde_json::Value;
use std::path::Path;
use std::{fs, io};

/// Inputs longer than this slow a fuzzer down more than they teach it.
const SEED_BYTES_MAX: usize = 4096;

fn main() -> io::Result<()> {
    let cases = ringway_casefile::load(&ringway_casefile::folder()).map_err(io::Error::other)?;
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let cases = cases.iter().filter(|case| case.input.len() <= SEED_BYTES_MAX);
    let seeds = cases.map(seeds).chain([patterns()]).enumerate();
    for (number, seeds) in seeds {
        for (place, (target, bytes)) in seeds.into_iter().enumerate() {
            let folder = corpus.join(target);
            fs::create_dir_all(&folder)?;
            fs::write(folder.join(format!("case-{number}-{place}")), bytes)?;
        }
    }
    Ok(())
}

/// The table's patterns on their paths, and what it refuses.
fn patterns() -> Vec<(&'static str, Vec<u8>)> {
    let table: Value =
        serde_json::from_str(include_str!("../../config/tests/patterns/table.json")).expect("the table");
    let rows = |key: &str| table[key].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let seed = |pattern: &str, path: &str| {
        let path = path.trim_start_matches('/').as_bytes();
        ("pattern", [&[path.len() as u8], path, pattern.as_bytes()].concat())
    };
    let tried = rows("patterns").into_iter().flat_map(|row| {
        let pattern = text(&row["pattern"]);
        let paths = row["paths"].as_array().cloned().unwrap_or_default();
        paths.into_iter().map(move |tried| seed(&pattern, &text(&tried["path"])))
    });
    let refused = rows("refused").into_iter().map(|row| seed(&text(&row["pattern"]), "/a"));
    tried.chain(refused).collect()
}

fn seeds(case: &Case) -> Vec<(&'static str, Vec<u8>)> {
    const WHOLE: &[u8] = &[0, 0];
    let input = &case.input;
    let (heads, connection) = match case.kind {
        Kind::Request => {
            ("request_head", exchange(input, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", case.closes))
        }
        Kind::Response => ("response_head", exchange(case.client_request(), input, case.closes)),
    };
    let mut seeds = vec![(heads, [WHOLE, input].concat()), ("connection", connection)];
    let head_end = input.windows(4).position(|window| window == b"\r\n\r\n");
    if let Some(body) = head_end.map(|end| &input[end + 4..]).filter(|body| !body.is_empty()) {
        seeds.push(("body", [&[0], WHOLE, body].concat()));
    }
    if let Some(target) = input.split(|&byte| byte == b' ').nth(1).filter(|_| case.kind == Kind::Request) {
        seeds.push(("target", target.to_vec()));
        let fields =
            input.windows(2).position(|window| window == b"\r\n").map_or(&input[..0], |end| &input[end..]);
        seeds.push(("rule", [&[target.len() as u8; 2], target, fields].concat()));
    }
    seeds
}

/// The input of `connection`: the length of the client's bytes, and both sides' bytes, whole.
fn exchange(client: &[u8], backend: &[u8], closes: bool) -> Vec<u8> {
    let len = (client.len() as u16 + 2) | if closes { 0x8000 } else { 0 };
    [&len.to_be_bytes()[..], &[0, 0], client, &[0, 0], backend].concat()
}
