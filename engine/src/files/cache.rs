//! What a worker keeps of short files that are asked for often: their bytes, for a bounded time and in bounded memory.
//!
//! What is kept stands in one of two tables, the young and the old. Who is asked for is young; when the young have become many,
//! they are the old, and those that were old go. So whoever stays was asked for since the last but one such change.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use super::coding::{CODINGS, Coding, Preference, Siblings};
use super::form::Form;

/// How long what was read is good, in milliseconds; then somebody looks at the file again.
pub(super) const FRESH_MS: u64 = 1000;
/// How old what was read may be, in milliseconds, for others to get it while somebody looks.
const SHARED_MS: u64 = 2 * FRESH_MS;
/// What a worker's cache takes at most, in bytes.
const CACHE_BYTES: usize = 16 * 1024 * 1024;
/// How many files are in it at most.
const CACHE_FILES: usize = 2048;
/// What an entry takes beside its name and its forms, in bytes; more than less.
const ENTRY_BYTES: usize = 256;

/// What is known of a file.
pub(super) enum Hit {
    /// It can be sent.
    Fresh(Rc<Form>),
    /// It can be sent once it was looked at again, which the caller does. When it was found to be so, in milliseconds since the
    /// process started. Others get it as it is until then, if that is not long ago.
    Stale(Rc<Form>, u64),
}

/// A worker's cache.
#[derive(Default)]
pub(super) struct Cache {
    young: Table,
    old: Table,
}

#[derive(Default)]
struct Table {
    entries: HashMap<Box<[u8]>, Entry, foldhash::fast::RandomState>,
    bytes: usize,
}

/// A file.
struct Entry {
    siblings: Siblings,
    forms: [Option<Kept>; CODINGS],
}

struct Kept {
    form: Rc<Form>,
    /// When it was found to be so, in milliseconds since the process started.
    seen_ms: Cell<u64>,
    /// When somebody began to look again.
    looked_ms: Cell<u64>,
}

impl Cache {
    /// What is kept of the file `key` in the coding that is preferred.
    pub(super) fn get(
        &mut self,
        key: &[u8],
        preference: impl FnOnce() -> Preference,
        now_ms: u64,
    ) -> Option<Hit> {
        if !self.young.entries.contains_key(key) {
            let (key, entry) = self.old.take(key)?;
            self.put(key, entry);
        }
        let entry = self.young.entries.get(key)?;
        let coding =
            if entry.siblings.any() { preference().choose(entry.siblings) } else { Coding::Identity };
        let kept = entry.forms.get(coding.index())?.as_ref()?;
        let is_within = |since: &Cell<u64>, ms: u64| now_ms.saturating_sub(since.get()) < ms;
        let form = kept.form.clone();
        let is_looked_at = is_within(&kept.looked_ms, FRESH_MS) && is_within(&kept.seen_ms, SHARED_MS);
        if is_within(&kept.seen_ms, FRESH_MS) || is_looked_at {
            return Some(Hit::Fresh(form));
        }
        kept.looked_ms.set(now_ms);
        Some(Hit::Stale(form, kept.seen_ms.get()))
    }

    /// It was found to be as it is kept, at `now_ms`.
    pub(super) fn renew(&mut self, key: &[u8], form: &Rc<Form>, now_ms: u64) {
        let entry = self.young.entries.get(key).or_else(|| self.old.entries.get(key));
        let kept = entry.and_then(|entry| entry.forms.get(form.coding.index())?.as_ref());
        if let Some(kept) = kept.filter(|kept| Rc::ptr_eq(&kept.form, form)) {
            kept.seen_ms.set(now_ms);
        }
    }

    /// Keeps what was read of a file at `now_ms`.
    pub(super) fn keep(&mut self, key: &[u8], form: &Rc<Form>, now_ms: u64) {
        let taken = self.young.take(key).or_else(|| self.old.take(key));
        // Other siblings: nothing of what was known holds.
        let (key, mut entry) =
            taken.filter(|(_, entry)| entry.siblings == form.siblings).unwrap_or_else(|| {
                (key.into(), Entry { siblings: form.siblings, forms: [const { None }; CODINGS] })
            });
        if let Some(place) = entry.forms.get_mut(form.coding.index()) {
            let (seen_ms, looked_ms) = (Cell::new(now_ms), Cell::new(now_ms));
            *place = Some(Kept { form: form.clone(), seen_ms, looked_ms });
        }
        self.put(key, entry);
    }

    /// Forgets a file.
    pub(super) fn forget(&mut self, key: &[u8]) {
        self.young.take(key);
        self.old.take(key);
    }

    /// What was not asked for since the last but one time goes; says how many files that were.
    pub(super) fn age(&mut self) -> usize {
        let gone = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
        gone.entries.len()
    }

    fn put(&mut self, key: Box<[u8]>, entry: Entry) {
        let bytes = cost(&key, &entry);
        // Each of the two may take half.
        if self.young.bytes + bytes > CACHE_BYTES / 2 || self.young.entries.len() >= CACHE_FILES / 2 {
            self.age();
        }
        self.young.bytes += bytes;
        self.young.entries.insert(key, entry);
    }
}

impl Table {
    fn take(&mut self, key: &[u8]) -> Option<(Box<[u8]>, Entry)> {
        let (key, entry) = self.entries.remove_entry(key)?;
        self.bytes -= cost(&key, &entry);
        Some((key, entry))
    }
}

fn cost(key: &[u8], entry: &Entry) -> usize {
    let forms = entry.forms.iter().flatten().filter_map(|kept| kept.form.kept_bytes());
    ENTRY_BYTES + key.len() + forms.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::form::Content;
    use crate::files::look::{Look, Seen};
    use crate::files::name::Asks;

    const BROTLI: &[u8] = b"br";

    fn preference(line: &[u8]) -> Preference {
        Preference::new(std::iter::once(line))
    }

    /// A file of so many bytes; `siblings`: with one that is compressed.
    fn read(bytes: usize, siblings: bool, accepts: &[u8]) -> Rc<Form> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), vec![b'x'; bytes]).unwrap();
        if siblings {
            std::fs::write(folder.path().join("a.br"), "compressed").unwrap();
        }
        let look = Look {
            folder: folder.path().into(),
            name: b"a".to_vec(),
            asks: Asks::Named,
            preference: preference(accepts),
            known: None,
        };
        match look.run() {
            Ok(Seen::File(form)) => Rc::new(form),
            other => panic!("{other:?}"),
        }
    }

    fn hit(cache: &mut Cache, key: &[u8], accepts: &[u8], now_ms: u64) -> (&'static str, u64) {
        match cache.get(key, || preference(accepts), now_ms) {
            Some(Hit::Fresh(form)) => ("fresh", form.length()),
            Some(Hit::Stale(form, _)) => ("stale", form.length()),
            None => ("none", 0),
        }
    }

    #[test]
    fn one_looks_again_while_others_get_what_is_there() {
        let mut cache = Cache::default();
        let form = read(5, false, b"");
        cache.keep(b"a", &form, 1000);
        assert_eq!(hit(&mut cache, b"a", b"", 1000 + FRESH_MS - 1), ("fresh", 5));
        assert_eq!(hit(&mut cache, b"a", b"", 1000 + FRESH_MS), ("stale", 5));
        assert_eq!(hit(&mut cache, b"a", b"", 1000 + FRESH_MS + 1), ("fresh", 5));
        // Whoever looked did not come back.
        assert_eq!(hit(&mut cache, b"a", b"", 1000 + 2 * FRESH_MS), ("stale", 5));
        // It is too old by now for anybody to get it unseen.
        assert_eq!(hit(&mut cache, b"a", b"", 1000 + 2 * FRESH_MS + 1), ("stale", 5));
        cache.renew(b"a", &form, 1000 + 2 * FRESH_MS);
        assert_eq!(hit(&mut cache, b"a", b"", 1000 + 3 * FRESH_MS - 1), ("fresh", 5));
        // Nobody asked for it in a long time.
        let later = 1000 + 100 * FRESH_MS;
        assert_eq!(hit(&mut cache, b"a", b"", later), ("stale", 5));
        assert_eq!(hit(&mut cache, b"a", b"", later + 1), ("stale", 5));
        cache.forget(b"a");
        assert_eq!(hit(&mut cache, b"a", b"", 1000), ("none", 0));
    }

    #[test]
    fn each_coding_is_kept_by_itself() {
        let mut cache = Cache::default();
        cache.keep(b"a", &read(5, true, b""), 0);
        assert_eq!(hit(&mut cache, b"a", b"", 1), ("fresh", 5));
        assert_eq!(hit(&mut cache, b"a", BROTLI, 1), ("none", 0));
        cache.keep(b"a", &read(5, true, BROTLI), 0);
        assert_eq!(hit(&mut cache, b"a", b"", 1), ("fresh", 5));
        assert_eq!(hit(&mut cache, b"a", BROTLI, 1), ("fresh", 10));
        // The sibling has gone.
        cache.keep(b"a", &read(5, false, b""), 0);
        assert_eq!(hit(&mut cache, b"a", BROTLI, 1), ("fresh", 5));
    }

    #[test]
    fn what_is_asked_for_stays_and_memory_is_bounded() {
        let mut cache = Cache::default();
        let form = read(20_000, false, b"");
        cache.keep(b"wanted", &form, 0);
        for n in 0..5_000_u32 {
            cache.keep(&n.to_le_bytes(), &form, 0);
            assert_eq!(hit(&mut cache, b"wanted", b"", 1).0, "fresh", "after {n}");
            assert!(cache.young.bytes + cache.old.bytes <= CACHE_BYTES);
            assert!(cache.young.entries.len() + cache.old.entries.len() <= CACHE_FILES);
        }
        let bytes = |table: &Table| table.entries.iter().map(|(key, entry)| cost(key, entry)).sum::<usize>();
        assert_eq!((cache.young.bytes, cache.old.bytes), (bytes(&cache.young), bytes(&cache.old)));
        assert!(bytes(&cache.old) > CACHE_BYTES / 3);
        cache.age();
        assert!(cache.age() > 0);
        assert_eq!(hit(&mut cache, b"wanted", b"", 1), ("none", 0));
    }

    #[test]
    fn their_number_is_bounded_where_they_are_short() {
        let mut cache = Cache::default();
        let form = read(1, false, b"");
        for n in 0..3 * CACHE_FILES {
            cache.keep(&n.to_le_bytes(), &form, 0);
        }
        let count = cache.young.entries.len() + cache.old.entries.len();
        assert!((CACHE_FILES / 2..=CACHE_FILES).contains(&count), "{count}");
    }

    #[test]
    fn what_is_kept_is_whole() {
        assert!(matches!(&read(100, false, b"").content, Content::Whole(bytes) if bytes.len() == 100));
    }
}
