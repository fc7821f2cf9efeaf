//! Compressed siblings of files, and which of them a client takes (RFC 9110 section 12.5.3).

/// How what is sent is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Brotli,
    Gzip,
}

/// How many there are.
pub(super) const CODINGS: usize = 3;

impl Coding {
    /// Its place among all.
    pub(super) fn index(self) -> usize {
        self as usize
    }

    /// In Content-Encoding.
    pub(super) fn token(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Brotli => Some("br"),
            Self::Gzip => Some("gzip"),
        }
    }

    /// What a sibling's name has behind that of the file.
    pub(super) fn extension(self) -> &'static [u8] {
        match self {
            Self::Identity => b"",
            Self::Brotli => b".br",
            Self::Gzip => b".gz",
        }
    }
}

/// Which siblings a file has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Siblings {
    pub(super) brotli: bool,
    pub(super) gzip: bool,
}

impl Siblings {
    /// There are some, so that what is sent depends on the client.
    pub(super) fn any(self) -> bool {
        self.brotli || self.gzip
    }

    /// It has none in this coding.
    pub(super) fn lose(&mut self, coding: Coding) {
        match coding {
            Coding::Identity => {}
            Coding::Brotli => self.brotli = false,
            Coding::Gzip => self.gzip = false,
        }
    }

    /// Whether the file, or its sibling, can be sent so.
    pub(super) fn have(self, coding: Coding) -> bool {
        match coding {
            Coding::Identity => true,
            Coding::Brotli => self.brotli,
            Coding::Gzip => self.gzip,
        }
    }
}

/// A quality value in thousandths; 0 is "not acceptable".
type Quality = u16;

/// How much a client likes each coding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Preference {
    brotli: Quality,
    gzip: Quality,
    /// 0 where it is not named: then a sibling is better. The file itself is sent where nothing else can be, in any case.
    identity: Quality,
}

impl Preference {
    /// What the lines of Accept-Encoding say; the first of two that name the same coding counts.
    pub(super) fn new<'v>(lines: impl Iterator<Item = &'v [u8]>) -> Self {
        let (mut brotli, mut gzip, mut identity, mut others) = (None, None, None, None);
        for member in lines.flat_map(|line| line.split(|&byte| byte == b',')) {
            let (name, quality) = read(member);
            let slot = match name {
                name if name.eq_ignore_ascii_case(b"br") => &mut brotli,
                name if name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip") => {
                    &mut gzip
                }
                name if name.eq_ignore_ascii_case(b"identity") => &mut identity,
                b"*" => &mut others,
                _ => continue,
            };
            slot.get_or_insert(quality);
        }
        let other = others.unwrap_or(0);
        Self { brotli: brotli.unwrap_or(other), gzip: gzip.unwrap_or(other), identity: identity.unwrap_or(0) }
    }

    /// What is sent of a file with these siblings: of two that the client likes alike, the one that is mostly smaller.
    pub(super) fn choose(self, siblings: Siblings) -> Coding {
        let best = [(Coding::Brotli, self.brotli), (Coding::Gzip, self.gzip)]
            .into_iter()
            .filter(|&(coding, quality)| siblings.have(coding) && quality > 0 && quality >= self.identity)
            .reduce(|best, next| if next.1 > best.1 { next } else { best });
        best.map_or(Coding::Identity, |(coding, _)| coding)
    }
}

/// A coding's name and its quality. One that cannot be read is not acceptable.
fn read(member: &[u8]) -> (&[u8], Quality) {
    let mut parts = member.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let name = parts.next().unwrap_or_default();
    let weight = parts.find_map(weight);
    (name, weight.map_or(1000, |weight| thousandths(weight).unwrap_or(0)))
}

/// What a parameter says, if it is the weight. Spaces around the `=` are not allowed; whoever writes them means it all the same.
fn weight(parameter: &[u8]) -> Option<&[u8]> {
    let rest = parameter.strip_prefix(b"q").or_else(|| parameter.strip_prefix(b"Q"))?;
    rest.trim_ascii().strip_prefix(b"=").map(<[u8]>::trim_ascii)
}

/// RFC 9110 section 12.4.2: 0 to 1, with up to three digits behind the point.
fn thousandths(weight: &[u8]) -> Option<Quality> {
    let (whole, fraction) = match weight {
        [whole] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return None,
    };
    let digit = |byte: u8| byte.is_ascii_digit().then(|| Quality::from(byte - b'0'));
    let mut value = digit(*whole)?;
    for place in 0..3 {
        value = 10 * value + fraction.get(place).map_or(Some(0), |&byte| digit(byte))?;
    }
    (value <= 1000).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Siblings = Siblings { brotli: true, gzip: true };
    const GZIP: Siblings = Siblings { brotli: false, gzip: true };

    fn chosen(line: &str, siblings: Siblings) -> Coding {
        Preference::new(std::iter::once(line.as_bytes())).choose(siblings)
    }

    #[test]
    fn the_best_that_is_there_is_chosen() {
        for (line, both, gzip) in [
            ("", Coding::Identity, Coding::Identity),
            ("gzip, deflate, br, zstd", Coding::Brotli, Coding::Gzip),
            ("gzip", Coding::Gzip, Coding::Gzip),
            ("x-gzip", Coding::Gzip, Coding::Gzip),
            ("BR", Coding::Brotli, Coding::Identity),
            ("br;q=0.5, gzip;q=0.8", Coding::Gzip, Coding::Gzip),
            ("br;q=0.8,gzip;q=0.8", Coding::Brotli, Coding::Gzip),
            ("br;q=0, gzip;q=0.000", Coding::Identity, Coding::Identity),
            ("*", Coding::Brotli, Coding::Gzip),
            ("*;q=0", Coding::Identity, Coding::Identity),
            ("br;q = 0, gzip ; Q= 0.5", Coding::Gzip, Coding::Gzip),
            ("gzip;q = 0", Coding::Identity, Coding::Identity),
            ("br;q=0, *", Coding::Gzip, Coding::Gzip),
            ("identity, gzip;q=0.5", Coding::Identity, Coding::Identity),
            ("identity;q=0.5, gzip;q=1.0", Coding::Gzip, Coding::Gzip),
            ("gzip ; q=1", Coding::Gzip, Coding::Gzip),
            ("gzip;q=0.0001", Coding::Identity, Coding::Identity),
            ("gzip;q=2", Coding::Identity, Coding::Identity),
            ("gzip;q=", Coding::Identity, Coding::Identity),
            ("gzip;q=0, gzip", Coding::Identity, Coding::Identity),
            ("brotli, gzipped, deflate", Coding::Identity, Coding::Identity),
            (",, gzip,", Coding::Gzip, Coding::Gzip),
        ] {
            assert_eq!((chosen(line, BOTH), chosen(line, GZIP)), (both, gzip), "{line}");
            assert_eq!(chosen(line, Siblings::default()), Coding::Identity);
        }
    }

    #[test]
    fn several_lines_are_one() {
        let lines = [&b"deflate"[..], b"gzip;q=0.1", b"br;q=0.2"];
        assert_eq!(Preference::new(lines.into_iter()).choose(BOTH), Coding::Brotli);
    }

    #[test]
    fn weights_are_read_strictly() {
        for (text, value) in [("0", 0), ("1", 1000), ("0.", 0), ("0.5", 500), ("0.123", 123), ("1.000", 1000)]
        {
            assert_eq!(thousandths(text.as_bytes()), Some(value), "{text}");
        }
        for text in ["", ".5", "1.001", "2", "-1", "0.1234", "0,5", "0.5x"] {
            assert_eq!(thousandths(text.as_bytes()), None, "{text}");
        }
    }
}
