//! Values that TOML has no type for: durations ("250ms"), sizes ("32KiB"), percentages ("50%"), and the few keys that take one of two
//! types. Each reads itself, writes itself as one number and unit, and says in the JSON schema what it takes.

use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::schema::{InlineUpstream, Upstream, UpstreamOf};

/// The units of a duration, in nanoseconds, largest first.
const DURATION_UNITS: [(&str, u64); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// The units of a size, in bytes, largest first.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// A duration as written: numbers with units, such as "250ms" or "1h30m".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span(pub(crate) Duration);

/// A number of bytes as written: a number with a unit, such as "32KiB"; "0" needs none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(pub(crate) u64);

/// A share as written: a whole percentage, such as "50%".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Percent(pub(crate) u8);

impl Span {
    /// Reads numbers with units, largest unit first and none twice: "1h30m", "250ms". "0" needs no unit.
    ///
    /// # Errors
    /// What is wrong, for a person.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let nanoseconds = units(text, &DURATION_UNITS, true).ok_or_else(|| {
            format!(
                "{text:?} is no duration: write numbers with units, such as \"250ms\", \"30s\" or \"1h30m\""
            )
        })?;
        Ok(Self(Duration::from_nanos(nanoseconds)))
    }
}

impl Size {
    /// Reads one number with a unit: "32KiB" (1,024 bytes each) or "32kB" (1,000 each). "0" needs no unit.
    ///
    /// # Errors
    /// What is wrong, for a person.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let bytes = units(text, &SIZE_UNITS, false).ok_or_else(|| {
            format!(
                "{text:?} is no size: write a number with a unit, such as \"512B\", \"32KiB\" or \"1MiB\""
            )
        })?;
        Ok(Self(bytes))
    }
}

impl Percent {
    /// Reads a whole number and its sign, "0%" to "100%" and no more: it is the share of a whole.
    ///
    /// # Errors
    /// What is wrong, for a person.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let digits = text.strip_suffix('%').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let share = digits.and_then(|digits| digits.parse().ok()).filter(|share| *share <= 100);
        share.map(Self).ok_or_else(|| format!("{text:?} is no percentage: write \"0%\" to \"100%\""))
    }
}

/// The sum of `text`'s numbers times their units; `None` for anything else and for what 64 bits cannot hold.
fn units(text: &str, known: &[(&str, u64)], several: bool) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let (mut rest, mut sum, mut smallest) = (text, 0_u64, u64::MAX);
    while !rest.is_empty() {
        let (number, after) = leading(rest, |c| c.is_ascii_digit());
        let (unit, after) = leading(after, |c| c.is_ascii_alphabetic());
        let factor = known.iter().find(|(name, _)| *name == unit)?.1;
        if factor >= smallest || (!several && rest.len() != text.len()) {
            return None;
        }
        sum = sum.checked_add(number.parse::<u64>().ok()?.checked_mul(factor)?)?;
        (rest, smallest) = (after, factor);
    }
    (smallest != u64::MAX).then_some(sum)
}

fn leading(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

impl fmt::Display for Span {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanoseconds = u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX);
        if nanoseconds == 0 {
            return out.write_str("0s");
        }
        let (unit, factor) = largest_unit(nanoseconds, &DURATION_UNITS);
        write!(out, "{}{unit}", nanoseconds / factor)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return out.write_str("0");
        }
        let (unit, factor) = largest_unit(self.0, &SIZE_UNITS);
        write!(out, "{}{unit}", self.0 / factor)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}%", self.0)
    }
}

/// The unit of which `value` is the smallest whole number; the last one is 1.
fn largest_unit<'u>(value: u64, units: &[(&'u str, u64)]) -> (&'u str, u64) {
    let whole = units.iter().filter(|(_, factor)| value.is_multiple_of(*factor));
    whole.copied().max_by_key(|(_, factor)| *factor).unwrap_or(("", 1))
}

macro_rules! text_value {
    ($name:ident, $kind:literal, $pattern:literal) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $kind.into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "x-kind": $kind })
            }
        }
    };
}

text_value!(Span, "duration", "^(0|([0-9]+(d|h|m|s|ms|us|ns))+)$");
text_value!(Size, "size", "^(0|[0-9]+(TiB|GiB|MiB|KiB|TB|GB|MB|kB|B))$");
text_value!(Percent, "percentage", "^([0-9]{1,2}|100)%$");

/// `"auto"` or a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum AutoOr {
    /// The word.
    #[default]
    #[serde(serialize_with = "auto")]
    Auto,
    /// The number.
    Number(u64),
}

fn auto<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str("auto")
}

impl<'de> Deserialize<'de> for AutoOr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl serde::de::Visitor<'_> for Visitor {
            type Value = AutoOr;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("\"auto\" or a number")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<AutoOr, E> {
                if text == "auto" {
                    Ok(AutoOr::Auto)
                } else {
                    Err(E::invalid_value(serde::de::Unexpected::Str(text), &self))
                }
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<AutoOr, E> {
                let number = u64::try_from(number);
                number.map(AutoOr::Number).map_err(|_| E::custom("expected \"auto\" or a number"))
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<AutoOr, E> {
                Ok(AutoOr::Number(number))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for AutoOr {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "auto or a number".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "oneOf": [{ "const": "auto" }, { "type": "integer" }] })
    }
}

/// `"auto"`, true or false.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum AutoOrBool {
    /// What fits.
    #[default]
    Auto,
    /// As written.
    Bool(bool),
}

impl Serialize for AutoOrBool {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Bool(value) => serializer.serialize_bool(*value),
        }
    }
}

impl<'de> Deserialize<'de> for AutoOrBool {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl serde::de::Visitor<'_> for Visitor {
            type Value = AutoOrBool;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("\"auto\", true or false")
            }

            fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<AutoOrBool, E> {
                Ok(AutoOrBool::Bool(value))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<AutoOrBool, E> {
                match text {
                    "auto" => Ok(AutoOrBool::Auto),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for AutoOrBool {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "auto, true or false".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "oneOf": [{ "const": "auto" }, { "type": "boolean" }] })
    }
}

/// A text, or `false` for none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum TextOrFalse {
    /// None.
    #[default]
    False,
    /// The text.
    Text(String),
}

impl Serialize for TextOrFalse {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::False => serializer.serialize_bool(false),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for TextOrFalse {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl serde::de::Visitor<'_> for Visitor {
            type Value = TextOrFalse;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a string or false")
            }

            fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<TextOrFalse, E> {
                if value {
                    Err(E::invalid_value(serde::de::Unexpected::Bool(value), &self))
                } else {
                    Ok(TextOrFalse::False)
                }
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<TextOrFalse, E> {
                Ok(TextOrFalse::Text(text.to_owned()))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for TextOrFalse {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "a string or false".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "oneOf": [{ "type": "string" }, { "const": false }] })
    }
}

impl<'de> Deserialize<'de> for UpstreamOf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = UpstreamOf;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a string or a table")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<UpstreamOf, E> {
                Ok(UpstreamOf::Named(name.to_owned()))
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<UpstreamOf, A::Error> {
                let inline = Upstream::deserialize(serde::de::value::MapAccessDeserializer::new(map));
                inline.map(|inline| UpstreamOf::Inline(inline.into()))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for UpstreamOf {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "a name or an upstream".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let inline = generator.subschema_for::<InlineUpstream>();
        json_schema!({ "oneOf": [{ "type": "string" }, inline] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(text: &str) -> Option<u128> {
        Span::parse(text).ok().map(|span| span.0.as_millis())
    }

    #[test]
    fn durations_are_numbers_with_units_largest_first() {
        assert_eq!(milliseconds("250ms"), Some(250));
        assert_eq!(milliseconds("1h30m"), Some(5_400_000));
        assert_eq!(milliseconds("2d3s4ms"), Some(172_803_004));
        assert_eq!(milliseconds("0"), Some(0));
        for bad in [
            "",
            "30",
            "s",
            "1.5s",
            "-1s",
            "1 s",
            "1S",
            "1m1h",
            "1s1s",
            "1s 1ms",
            "1min",
            "99999999999d",
            "²s",
        ] {
            assert_eq!(milliseconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_are_one_number_with_a_unit() {
        let bytes = |text| Size::parse(text).ok().map(|size| size.0);
        assert_eq!(bytes("32KiB"), Some(32_768));
        assert_eq!(bytes("10kB"), Some(10_000));
        assert_eq!(bytes("0"), Some(0));
        for bad in ["", "32", "32K", "32kib", "1MiB1KiB", "1.5MiB", "-1B", "99999999999TiB"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn percentages_are_whole_and_at_most_a_hundred() {
        let percent = |text| Percent::parse(text).ok().map(|percent| percent.0);
        assert_eq!((percent("0%"), percent("50%"), percent("100%")), (Some(0), Some(50), Some(100)));
        for bad in ["", "%", "50", "50 %", "+5%", "-1%", "0.5%", "101%", "300%", "50%%", "²%"] {
            assert_eq!(percent(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for text in ["0s", "250ms", "90m", "1d", "75s", "1500us"] {
            assert_eq!(Span::parse(text).unwrap().to_string(), text);
        }
        for text in ["0", "512B", "32KiB", "1MiB", "1025B", "10kB"] {
            assert_eq!(Size::parse(text).unwrap().to_string(), text);
        }
        for text in ["0%", "7%", "100%"] {
            assert_eq!(Percent::parse(text).unwrap().to_string(), text);
        }
    }
}
