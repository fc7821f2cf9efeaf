//! The answers that let a request through, remembered for as long as the provider says: by a keyed hash of what the endpoint
//! was told, so that no cookie and no password lies in this memory.

use std::collections::{HashMap, VecDeque};

use crate::access::verdicts::Key;

/// How many answers a worker remembers.
const ANSWERS_MAX: usize = 4096;
/// How much of them, in bytes of lines for backends.
const LINES_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The answers that a worker remembers under one configuration.
#[derive(Debug, Default)]
pub(crate) struct Known {
    answers: HashMap<Key, Answer>,
    /// The answers in the order in which they were entered, by their numbers. Of one that has gone meanwhile, or was entered
    /// anew, the old place stays until its turn comes.
    entered: VecDeque<(Key, u64)>,
    next_number: u64,
    lines_bytes: usize,
}

#[derive(Debug)]
struct Answer {
    /// Those that go to the backend.
    lines: Box<[u8]>,
    /// Until when it holds, in milliseconds since the process started.
    until_ms: u64,
    number: u64,
}

impl Known {
    /// The lines for the backend that `key` was answered with, as long as that holds. `now_ms` is in milliseconds since the
    /// process started.
    pub(super) fn get(&mut self, key: Key, now_ms: u64) -> Option<Vec<u8>> {
        let answer = self.answers.get(&key)?;
        if now_ms < answer.until_ms {
            return Some(answer.lines.to_vec());
        }
        self.forget(key);
        None
    }

    /// Remembers until `until_ms` that `key` was let through with `lines`; for that, the oldest are forgotten where there are
    /// too many.
    pub(super) fn remember(&mut self, key: Key, lines: &[u8], until_ms: u64) {
        if lines.len() > LINES_BYTES_MAX {
            return;
        }
        self.forget(key);
        while self.entered.len() >= ANSWERS_MAX || self.lines_bytes + lines.len() > LINES_BYTES_MAX {
            self.forget_oldest();
        }
        let number = self.next_number;
        self.next_number += 1;
        self.lines_bytes += lines.len();
        self.entered.push_back((key, number));
        self.answers.insert(key, Answer { lines: lines.into(), until_ms, number });
    }

    fn forget(&mut self, key: Key) {
        if let Some(answer) = self.answers.remove(&key) {
            self.lines_bytes -= answer.lines.len();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((key, number)) = self.entered.pop_front()
            && self.answers.get(&key).is_some_and(|answer| answer.number == number)
        {
            self.forget(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> Key {
        Key::of_question("sso", &[], format!("X-Forwarded-Uri: /{number}\r\n").as_bytes()).unwrap()
    }

    #[test]
    fn an_answer_holds_for_its_time_and_for_what_was_told_alone() {
        let mut known = Known::default();
        known.remember(key(1), b"X-User: ann\r\n", 100);
        assert_eq!(known.get(key(1), 99).as_deref(), Some(&b"X-User: ann\r\n"[..]));
        let others = [
            Some(key(2)),
            Key::of_question("ss", &[], b"oX-Forwarded-Uri: /1\r\n"),
            Key::of_question("sso", &["x-user".to_owned()], b"X-Forwarded-Uri: /1\r\n"),
            Key::of_password("sso", "X-Forwarded-Uri: /1\r\n", ""),
        ];
        assert!(others.into_iter().flatten().all(|other| known.get(other, 0).is_none()));
        assert_eq!(known.get(key(1), 100), None);
        assert_eq!((known.answers.len(), known.lines_bytes), (0, 0));
    }

    #[test]
    fn the_oldest_go_first_when_there_are_too_many() {
        let mut known = Known::default();
        (0..ANSWERS_MAX + 10).for_each(|number| known.remember(key(number), b"x", 100));
        assert_eq!((known.answers.len(), known.entered.len()), (ANSWERS_MAX, ANSWERS_MAX));
        assert_eq!(known.get(key(9), 0), None);
        assert!(known.get(key(10), 0).is_some());
        assert!(known.get(key(ANSWERS_MAX + 9), 0).is_some());
    }

    #[test]
    fn one_that_comes_again_and_again_takes_no_more_room() {
        let mut known = Known::default();
        let one = key(1);
        for time in 0..3 * ANSWERS_MAX as u64 {
            known.remember(one, &[b'x'; 100], time + 1);
            assert!(known.get(one, time).is_some());
            assert!(known.get(one, time + 1).is_none());
        }
        assert!(known.entered.len() <= ANSWERS_MAX);
        assert_eq!(known.lines_bytes, 0);
    }

    #[test]
    fn long_lines_take_the_room_of_many() {
        let mut known = Known::default();
        let (first, second) = (key(1), key(2));
        known.remember(first, &vec![b'x'; LINES_BYTES_MAX / 2 + 1], 100);
        known.remember(second, &vec![b'x'; LINES_BYTES_MAX / 2], 100);
        assert!(known.get(first, 0).is_none() && known.get(second, 0).is_some());
        known.remember(first, &vec![b'x'; LINES_BYTES_MAX + 1], 100);
        assert!(known.get(first, 0).is_none() && known.get(second, 0).is_some());
        assert_eq!(known.lines_bytes, LINES_BYTES_MAX / 2);
    }
}
