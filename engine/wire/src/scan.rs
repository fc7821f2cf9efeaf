//! Finding the bytes that matter in a head, many at a time: SSE2, which every x86-64 processor has, and elsewhere the same by
//! tables. What these functions pass over needs no second look; where they stop, the caller looks at the byte itself.

/// The bytes that [`Unusual`] looks at together: a bit of a word for each.
const BLOCK: usize = 64;

/// The bytes that one vector has.
const LANES: usize = 16;

type Vector = [u8; LANES];

/// Walks over the bytes that are not plain text: everything but 0x20 to 0x7E. They are the ends of lines, and besides those only
/// HTAB and obs-text may stand in a head.
pub(crate) struct Unusual<'a> {
    bytes: &'a [u8],
    /// Where the block begins that `mask` is about.
    base: usize,
    /// A bit for each byte of the block that is unusual and has not been passed.
    mask: u64,
}

impl<'a> Unusual<'a> {
    /// A walk over `bytes` that begins at `start`.
    #[inline(always)]
    pub(crate) fn new(bytes: &'a [u8], start: usize) -> Self {
        Self { bytes, base: start, mask: unusual_block(bytes, start) }
    }

    /// The end of the line that begins at `line`, its CRLF not counted; `None` when it has not come or the line has a byte that
    /// no line may have. Lines are asked for one by one.
    #[inline(always)]
    pub(crate) fn line_end(&mut self, line: usize) -> Option<usize> {
        loop {
            while self.mask == 0 {
                self.base += BLOCK;
                if self.base >= self.bytes.len() {
                    return None;
                }
                self.mask = unusual_block(self.bytes, self.base);
            }
            let at = self.base + self.mask.trailing_zeros() as usize;
            self.pass_one();
            // Not so for the LF of the line before, where it stands in another block than its CR.
            if at >= line {
                if self.bytes.get(at..at + 2) == Some(b"\r\n") {
                    self.pass_one();
                    return Some(at);
                }
                if !matches!(self.bytes.get(at), Some(b'\t' | 0x80..)) {
                    return None;
                }
            }
        }
    }

    #[inline(always)]
    fn pass_one(&mut self) {
        self.mask &= self.mask.wrapping_sub(1);
    }
}

#[inline(always)]
fn unusual_block(bytes: &[u8], base: usize) -> u64 {
    match bytes.get(base..).and_then(|rest| rest.first_chunk()) {
        Some(block) => blocks::unusual(block),
        None => unusual_tail(bytes, base),
    }
}

/// The same where fewer bytes than a block are left.
fn unusual_tail(bytes: &[u8], base: usize) -> u64 {
    let rest = bytes.get(base..).unwrap_or_default();
    if let (Some(last), 1..) = (bytes.last_chunk(), rest.len()) {
        return blocks::unusual(last) >> (BLOCK - rest.len());
    }
    let mut block = [b' '; BLOCK];
    block.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    blocks::unusual(&block)
}

/// A bit for each byte of `line` that is a colon.
#[inline(always)]
pub(crate) fn colons(line: &[u8; 32]) -> u32 {
    match line.as_chunks() {
        ([front, back], _) => blocks::colons(front) | blocks::colons(back) << LANES,
        _ => 0,
    }
}

/// A bit for each byte of `line` that is that of `lower`, or its capital. Of bytes that are no letters only control bytes are
/// taken for others.
#[inline(always)]
pub(crate) fn same_letters(line: &[u8; 32], lower: &[u8; 32]) -> u32 {
    match (line.as_chunks(), lower.as_chunks()) {
        (([front, back], _), ([lower_front, lower_back], _)) => {
            blocks::same_letters(front, lower_front) | blocks::same_letters(back, lower_back) << LANES
        }
        _ => 0,
    }
}

/// Where a path that begins at `start` and ends before `end` needs a closer look: at a byte below `&` or over `~`, at `?`, or at
/// the slash before a segment that begins with a dot. May stop earlier.
#[inline(always)]
pub(crate) fn plain_path(bytes: &[u8], start: usize, end: usize) -> usize {
    // One byte more than a vector: each slash is seen together with what follows it.
    first_stop(bytes, start, end, |window: &[u8; LANES + 1]| {
        match (window.first_chunk(), window.last_chunk()) {
            (Some(vector), Some(next)) => blocks::path_stops(vector, next),
            _ => 1,
        }
    })
}

/// Where a query that begins at `start` and ends before `end` needs a closer look: at a byte below `$` or over `~`. May stop
/// earlier.
#[inline(always)]
pub(crate) fn plain_query(bytes: &[u8], start: usize, end: usize) -> usize {
    first_stop(bytes, start, end, blocks::query_stops)
}

/// Where a host that begins at `start` and ends before `end` needs a closer look: at a byte that is no letter, digit, `-` or `.`,
/// or at a dot that ends an empty label. May stop earlier.
#[inline(always)]
pub(crate) fn plain_host(bytes: &[u8], start: usize, end: usize) -> usize {
    let mut after_dot = 1;
    first_stop(bytes, start, end, |vector| {
        let (others, dots) = blocks::host_stops(vector);
        let stops = others | dots & (dots << 1 | after_dot);
        after_dot = dots >> (LANES - 1);
        stops
    })
}

/// Goes on from `start` by vectors until `stops` has a bit for one of a vector's bytes, or no whole window is left.
#[inline(always)]
fn first_stop<const WINDOW: usize>(
    bytes: &[u8],
    start: usize,
    end: usize,
    mut stops: impl FnMut(&[u8; WINDOW]) -> u32,
) -> usize {
    let mut at = start;
    while let Some(window) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let found = stops(window);
        if found != 0 {
            at += found.trailing_zeros() as usize;
            break;
        }
        at += LANES;
    }
    at.min(end)
}

/// By the vector instructions that every x86-64 processor has.
#[cfg(target_arch = "x86_64")]
mod blocks {
    use super::{BLOCK, Vector};
    use safe_arch::{
        add_i8_m128i, bitand_m128i, bitor_m128i, cmp_eq_mask_i8_m128i, cmp_gt_mask_i8_m128i,
        load_unaligned_m128i, m128i, move_mask_i8_m128i, set_splat_i8_m128i,
    };

    #[inline(always)]
    fn all(byte: u8) -> m128i {
        set_splat_i8_m128i(byte as i8)
    }

    #[inline(always)]
    fn bits(lanes: m128i) -> u32 {
        move_mask_i8_m128i(lanes) as u32
    }

    /// The lanes that are `byte`.
    #[inline(always)]
    fn equal(lanes: m128i, byte: u8) -> m128i {
        cmp_eq_mask_i8_m128i(lanes, all(byte))
    }

    /// The lanes from `first` to `~`. Signed, DEL plus one and all above it are negative.
    #[inline(always)]
    fn visible_from(lanes: m128i, first: u8) -> m128i {
        cmp_gt_mask_i8_m128i(add_i8_m128i(lanes, all(1)), all(first))
    }

    #[inline(always)]
    fn within(lanes: m128i, first: u8, last: u8) -> m128i {
        bitand_m128i(cmp_gt_mask_i8_m128i(lanes, all(first - 1)), cmp_gt_mask_i8_m128i(all(last + 1), lanes))
    }

    #[inline(always)]
    pub(super) fn unusual(block: &[u8; BLOCK]) -> u64 {
        let plain = |vector: &Vector| u64::from(bits(visible_from(load_unaligned_m128i(vector), b' ')));
        match block.as_chunks() {
            ([a, b, c, d], _) => !(plain(a) | plain(b) << 16 | plain(c) << 32 | plain(d) << 48),
            _ => !0,
        }
    }

    #[inline(always)]
    pub(super) fn colons(vector: &Vector) -> u32 {
        bits(equal(load_unaligned_m128i(vector), b':'))
    }

    #[inline(always)]
    pub(super) fn same_letters(vector: &Vector, lower: &Vector) -> u32 {
        let lowered = bitor_m128i(load_unaligned_m128i(vector), all(0x20));
        bits(cmp_eq_mask_i8_m128i(lowered, load_unaligned_m128i(lower)))
    }

    #[inline(always)]
    pub(super) fn path_stops(vector: &Vector, next: &Vector) -> u32 {
        let lanes = load_unaligned_m128i(vector);
        let dot_segments = bitand_m128i(equal(lanes, b'/'), equal(load_unaligned_m128i(next), b'.'));
        bits(bitor_m128i(equal(lanes, b'?'), dot_segments)) | bits(visible_from(lanes, b'&')) ^ 0xffff
    }

    #[inline(always)]
    pub(super) fn query_stops(vector: &Vector) -> u32 {
        bits(visible_from(load_unaligned_m128i(vector), b'$')) ^ 0xffff
    }

    /// What is no letter, digit, `-` or `.`; and the dots.
    #[inline(always)]
    pub(super) fn host_stops(vector: &Vector) -> (u32, u32) {
        let lanes = load_unaligned_m128i(vector);
        let letters = within(bitor_m128i(lanes, all(0x20)), b'a', b'z');
        let rest = bitor_m128i(within(lanes, b'-', b'.'), within(lanes, b'0', b'9'));
        (bits(bitor_m128i(letters, rest)) ^ 0xffff, bits(equal(lanes, b'.')))
    }
}

#[cfg(not(target_arch = "x86_64"))]
use table as blocks;

/// Byte by byte. It is what runs elsewhere, and what the vectors are tested against.
#[cfg(any(test, not(target_arch = "x86_64")))]
mod table {
    use super::{BLOCK, Vector};

    #[inline]
    fn bits<const N: usize>(bytes: &[u8; N], of: impl Fn(u8) -> bool) -> u64 {
        bytes.iter().rev().fold(0, |mask, &byte| mask << 1 | u64::from(of(byte)))
    }

    #[inline]
    pub(super) fn unusual(block: &[u8; BLOCK]) -> u64 {
        bits(block, |byte| !matches!(byte, b' '..=b'~'))
    }

    #[inline]
    pub(super) fn colons(vector: &Vector) -> u32 {
        bits(vector, |byte| byte == b':') as u32
    }

    #[inline]
    pub(super) fn same_letters(vector: &Vector, lower: &Vector) -> u32 {
        let differing = u128::from_le_bytes(*vector) ^ u128::from_le_bytes(*lower);
        bits(&differing.to_le_bytes(), |difference| difference & !0x20 == 0) as u32
    }

    #[inline]
    pub(super) fn path_stops(vector: &Vector, next: &Vector) -> u32 {
        let dot_segments = bits(vector, |byte| byte == b'/') & bits(next, |byte| byte == b'.');
        (bits(vector, |byte| byte == b'?' || !matches!(byte, b'&'..=b'~')) | dot_segments) as u32
    }

    #[inline]
    pub(super) fn query_stops(vector: &Vector) -> u32 {
        bits(vector, |byte| !matches!(byte, b'$'..=b'~')) as u32
    }

    #[inline]
    pub(super) fn host_stops(vector: &Vector) -> (u32, u32) {
        let others = bits(vector, |byte| !byte.is_ascii_alphanumeric() && !matches!(byte, b'-' | b'.'));
        (others as u32, bits(vector, |byte| byte == b'.') as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte in every lane of a vector, among bytes that are something and bytes that are nothing.
    fn vectors() -> impl Iterator<Item = Vector> {
        let around = *b"./a?-:.~A/%0 /.z";
        let with = move |byte: u8, lane: usize, rest: Vector| {
            let mut vector = rest;
            vector[lane] = byte;
            vector
        };
        (0..=255u8).flat_map(move |byte| {
            (0..LANES).flat_map(move |lane| [with(byte, lane, around), with(byte, lane, [b'a'; LANES])])
        })
    }

    #[test]
    fn vectors_see_what_tables_see() {
        for vector in vectors() {
            let shown = vector.escape_ascii();
            let mut next = vector;
            next.rotate_left(1);
            assert_eq!(blocks::colons(&vector), table::colons(&vector), "{shown}");
            assert_eq!(blocks::path_stops(&vector, &next), table::path_stops(&vector, &next), "{shown}");
            assert_eq!(blocks::query_stops(&vector), table::query_stops(&vector), "{shown}");
            assert_eq!(blocks::host_stops(&vector), table::host_stops(&vector), "{shown}");
            let lower = *b"./a?-:.~a/%0 /.z";
            assert_eq!(
                blocks::same_letters(&vector, &lower),
                table::same_letters(&vector, &lower),
                "{shown}"
            );
            let mut block = [b'a'; BLOCK];
            for at in [0, 16, 32, 48] {
                block[at..at + LANES].copy_from_slice(&vector);
                assert_eq!(blocks::unusual(&block), table::unusual(&block), "{shown}");
            }
        }
    }

    #[test]
    fn letters_are_the_same_in_both_cases_and_nothing_else_is() {
        for (byte, lower) in (0x20..=0xff).flat_map(|byte| (b'a'..=b'z').map(move |lower| (byte, lower))) {
            let same = same_letters(&[byte; 32], &[lower; 32]) == u32::MAX;
            assert_eq!(same, byte.to_ascii_lowercase() == lower, "{byte:#x} {lower:#x}");
        }
        for (byte, other) in (0x20..=0xff).flat_map(|byte| b"-:0123456789".map(|other| (byte, other))) {
            assert_eq!(same_letters(&[byte; 32], &[other; 32]) == u32::MAX, byte == other, "{byte:#x}");
        }
    }

    #[test]
    fn lines_end_wherever_they_end() {
        // The CR and the LF in one block and in two, in the last block and at the very end.
        for (before, line, after) in
            (0..70).flat_map(|a| (0..140).flat_map(move |b| [0, 1, 63, 64, 65].map(|c| (a, b, c))))
        {
            let text = [&vec![b'x'; before][..], &vec![b'y'; line], b"\r\n", &vec![b'z'; after]].concat();
            let mut unusual = Unusual::new(&text, before);
            assert_eq!(unusual.line_end(before), Some(before + line), "{before} {line} {after}");
            assert_eq!(unusual.line_end(before + line + 2), None);
            let next = [&text[..], b"\r\n\r\n"].concat();
            let mut unusual = Unusual::new(&next, before);
            assert_eq!(unusual.line_end(before), Some(before + line));
            assert_eq!(unusual.line_end(before + line + 2), Some(text.len()));
            assert_eq!(unusual.line_end(text.len() + 2), Some(text.len() + 2));
        }
    }

    #[test]
    fn which_bytes_a_line_may_have() {
        for byte in 0..=255u8 {
            let text = [b'a', byte, b'b', b'\r', b'\n'];
            let expected = (byte >= 0x20 && byte != 0x7f || byte == b'\t').then_some(3);
            assert_eq!(Unusual::new(&text, 0).line_end(0), expected, "{byte:#x}");
        }
        for text in [&b""[..], b"a", b"a\r", b"a\n", b"a\r\r\n", b"\n\r\n", b"a\r\tb\r\n"] {
            assert_eq!(Unusual::new(text, 0).line_end(0), None, "{}", text.escape_ascii());
        }
    }

    /// Compares `fast`, which may stop early where no vector fits any more, with the first of `stops`.
    fn check(fast: fn(&[u8], usize, usize) -> usize, stops: impl Fn(&[u8], usize) -> bool) {
        for vector in vectors() {
            for start in [0, 5] {
                let text = [b"/p", &vector[..], b"/q.w/e-r/t.y/u?", &[b'v'; 40]].concat();
                for end in [text.len() - 40, 9] {
                    let cuts = if start == 0 { end..end + 20 } else { end..end };
                    let slow = (start..end).find(|&at| stops(&text[start..], at - start)).unwrap_or(end);
                    let shown = text.escape_ascii();
                    assert_eq!(fast(&text, start, end), slow, "{shown} {start} {end}");
                    for short in cuts {
                        assert!(fast(&text[..short], start, end) <= slow, "{shown} {start} {end} {short}");
                    }
                }
            }
        }
    }

    #[test]
    fn plain_stretches_end_where_a_closer_look_is_due() {
        check(plain_path, |text, at| {
            text[at] == b'?' || !matches!(text[at], b'&'..=b'~') || text[at..].starts_with(b"/.")
        });
        check(plain_query, |text, at| !matches!(text[at], b'$'..=b'~'));
        check(plain_host, |text, at| {
            let empty_label = text[at] == b'.' && (at == 0 || text[at - 1] == b'.');
            !matches!(text[at], b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.') || empty_label
        });
    }
}
