//! The case files of `tests/cases`, against this crate alone: whole, split at every byte, and byte by byte.

mod driver;

use driver::Outcome;
use ringway_casefile::{Case, End, Kind, Message};
use ringway_wire::{BodyErrorKind, HeadErrorKind};
use std::collections::HashSet;

/// Longer inputs, which are there for the bounds, are split at this number of places only.
const SPLIT_EVERYWHERE_MAX: usize = 2048;
const SPLITS_OF_LONG: usize = 128;

#[test]
fn cases_whole() {
    check("whole", |case| check_case(case, &[&case.input], "whole"));
}

#[test]
fn cases_split_in_two() {
    check("split in two", |case| {
        let len = case.input.len();
        let step = if len > SPLIT_EVERYWHERE_MAX { len / SPLITS_OF_LONG } else { 1 };
        for at in (0..=len).step_by(step) {
            let (front, back) = case.input.split_at(at);
            check_case(case, &[front, back], &format!("split at {at}"))?;
        }
        Ok(())
    });
}

#[test]
fn cases_byte_by_byte() {
    check("byte by byte", |case| {
        let pieces: Vec<&[u8]> = case.input.chunks(1).collect();
        check_case(case, &pieces, "byte by byte")
    });
}

#[test]
fn every_kind_of_error_has_a_case() {
    let cases = ringway_casefile::load(&ringway_casefile::folder()).unwrap();
    let details: HashSet<&str> = cases.iter().filter_map(detail).collect();
    let heads = HeadErrorKind::ALL.iter().map(|kind| kind.detail());
    let bodies = BodyErrorKind::ALL.iter().map(|kind| kind.detail());
    let missing: Vec<&str> = heads.chain(bodies).filter(|kind| !details.contains(kind)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn detail(case: &Case) -> Option<&str> {
    match &case.end {
        End::Refused { detail, .. } | End::Broken { detail, .. } => Some(detail),
        End::Clean | End::Answered { .. } | End::Incomplete => None,
    }
}

/// Runs `run` on every case and fails with all that differ.
fn check(what: &str, run: impl Fn(&Case) -> Result<(), String>) {
    let cases = ringway_casefile::load(&ringway_casefile::folder()).unwrap();
    let failed: Vec<String> = cases.iter().filter_map(|case| run(case).err()).collect();
    assert!(failed.is_empty(), "{} of {} cases {what}:\n{}", failed.len(), cases.len(), failed.join("\n"));
}

fn check_case(case: &Case, pieces: &[&[u8]], how: &str) -> Result<(), String> {
    let pieces = pieces.iter().copied();
    let outcome = match case.kind {
        Kind::Request => driver::requests(pieces, case.closes),
        Kind::Response => driver::response(case.client_request(), pieces, case.closes)
            .ok_or_else(|| format!("{} (line {}): the request is none", case.name, case.line))?,
    };
    let expected = Outcome {
        messages: case.messages.clone(),
        end: case.end.clone(),
        backend_kept: case.backend_kept.unwrap_or(outcome.backend_kept),
    };
    if outcome.is_like(&expected) {
        return Ok(());
    }
    Err(format!(
        "{} (line {}), {how}\n  expected {}\n  got      {}",
        case.name,
        case.line,
        show(&expected),
        show(&outcome)
    ))
}

fn show(outcome: &Outcome) -> String {
    let message = |message: &Message| {
        let text = [&message.head[..], b" | ", &message.body, b" | ", &message.trailers].concat();
        text[..text.len().min(600)].escape_ascii().to_string()
    };
    let messages: Vec<String> = outcome.messages.iter().take(4).map(message).collect();
    format!("{messages:?} {:?} kept: {}", outcome.end, outcome.backend_kept)
}
