//! SipHash-1-3 under a secret of the process (Aumasson and Bernstein, 2012): who does not know the secret can neither tell
//! which keys have the same hash nor make one. The hasher of the standard library is the same, and takes twice as long for the
//! few words that a limit has.

use std::hash::{BuildHasher, RandomState};

/// What nobody else knows.
#[derive(Clone, Copy)]
pub(super) struct Secret(u64, u64);

impl Secret {
    /// A new one, from the system's random numbers.
    pub(super) fn random() -> Self {
        let random = RandomState::new();
        Self(random.hash_one(0), random.hash_one(1))
    }

    /// Begins a hash.
    pub(super) fn hash(self) -> Hash {
        let Self(k0, k1) = self;
        let state = [
            k0 ^ 0x736f6d6570736575,
            k1 ^ 0x646f72616e646f6d,
            k0 ^ 0x6c7967656e657261,
            k1 ^ 0x7465646279746573,
        ];
        Hash { state, words: 0 }
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Secret")
    }
}

/// A hash in the making.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hash {
    state: [u64; 4],
    words: u64,
}

impl Hash {
    /// Adds a number.
    #[inline]
    pub(super) fn add(&mut self, word: u64) {
        self.words += 1;
        self.state[3] ^= word;
        self.round();
        self.state[0] ^= word;
    }

    /// Adds a text, with its length: two texts are not one in two parts.
    pub(super) fn add_text(&mut self, text: &[u8]) {
        self.add(text.len() as u64);
        let (words, rest) = text.as_chunks();
        words.iter().for_each(|word| self.add(u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            let mut word = [0; 8];
            word.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            self.add(u64::from_le_bytes(word));
        }
    }

    /// The hash of all that was added.
    #[inline]
    pub(super) fn finish(mut self) -> u64 {
        // The last word has the number of bytes, as far as one byte can say it.
        self.add(self.words << 59);
        self.state[2] ^= 0xff;
        (0..3).for_each(|_| self.round());
        self.state.into_iter().fold(0, |all, part| all ^ part)
    }

    #[inline]
    fn round(&mut self) {
        let [v0, v1, v2, v3] = &mut self.state;
        *v0 = v0.wrapping_add(*v1);
        *v2 = v2.wrapping_add(*v3);
        *v1 = v1.rotate_left(13) ^ *v0;
        *v3 = v3.rotate_left(16) ^ *v2;
        *v0 = v0.rotate_left(32);
        *v2 = v2.wrapping_add(*v1);
        *v0 = v0.wrapping_add(*v3);
        *v1 = v1.rotate_left(17) ^ *v2;
        *v3 = v3.rotate_left(21) ^ *v0;
        *v2 = v2.rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hasher};

    use super::*;

    #[test]
    fn it_is_the_hash_of_the_standard_library() {
        // Whose secret is two zeros.
        let (mut hash, mut expected) = (Secret(0, 0).hash(), DefaultHasher::new());
        for count in 0..100_u64 {
            assert_eq!(hash.finish(), expected.finish(), "{count} words");
            let word = count.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            hash.add(word);
            expected.write(&word.to_le_bytes());
        }
    }

    #[test]
    fn texts_are_told_apart() {
        let secret = Secret::random();
        let of = |texts: &[&[u8]]| {
            let mut hash = secret.hash();
            texts.iter().for_each(|text| hash.add_text(text));
            hash.finish()
        };
        let all: [&[&[u8]]; 12] = [
            &[],
            &[b""],
            &[b"", b""],
            &[b"\0"],
            &[b"\0\0"],
            &[b"a"],
            &[b"a\0"],
            &[b"abcdefgh"],
            &[b"abcdefgh\0"],
            &[b"abcdefghi"],
            &[b"abcdefgh", b"i"],
            &[b"abcd", b"efghi"],
        ];
        let mut hashes: Vec<_> = all.iter().map(|texts| of(texts)).collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), all.len());
        let again = |secret: Secret| secret.hash().finish();
        assert!(again(secret) == again(secret) && again(secret) != again(Secret::random()));
    }
}
