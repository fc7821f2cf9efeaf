//! The first look at a file: does it have the shape of the schema? Walks the parsed TOML beside the JSON schema and
//! reports every unknown key, wrong type, value out of its range and missing key at once, where serde would stop at
//! the first. What is wrong is then cut out, so that the rest can still be read and checked.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::problem::{Finding, Pointer, nearest};
use crate::schema::{Config, LATER};
use crate::value::{Percent, Size, Span};
use crate::veil;

/// The JSON schema of the file, from which the published one, the reference page and these checks are made.
pub(crate) static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Config>().to_value()
});

/// What an optional field is when it is there: the choice beside null.
fn without_null(schema: &'static Value) -> &'static Value {
    let choices = schema.get("anyOf").and_then(Value::as_array);
    let null = |choice: &Value| choice.get("type").is_some_and(|name| name == "null");
    choices.and_then(|choices| choices.iter().find(|choice| !null(choice))).unwrap_or(schema)
}

/// Follows a `$ref` into the schema's definitions.
pub(crate) fn resolved(schema: &'static Value) -> &'static Value {
    let target = schema.get("$ref").and_then(Value::as_str);
    target.and_then(|target| SCHEMA.pointer(target.trim_start_matches('#'))).unwrap_or(schema)
}

/// What a file's shape has wrong.
#[derive(Debug, Default)]
pub(crate) struct Shape {
    /// Every problem.
    pub(crate) findings: Vec<Finding>,
    /// What cannot be read, and is cut out before the rest is; and what should stand there.
    spoilt: HashMap<Pointer, Kind>,
    /// Places of which later checks say nothing: they would only repeat what stands in `findings`.
    silenced: HashSet<Pointer>,
}

impl Shape {
    /// Looks at a whole file.
    pub(crate) fn of(file: &DeTable<'_>) -> Self {
        let mut shape = Self::default();
        shape.table(file, &SCHEMA, &Pointer::default());
        shape
    }

    /// Takes what cannot be read out of `file`.
    pub(crate) fn prune(&self, file: &mut DeTable<'_>) {
        for (pointer, kind) in &self.spoilt {
            cut(file, pointer, *kind);
        }
    }

    /// Whether a later finding about `place` says something that is not said yet.
    pub(crate) fn leaves_open(&self, place: &Pointer) -> bool {
        !self.silenced.contains(place) && !place.ancestors().any(|above| self.spoilt.contains_key(&above))
    }

    fn table(&mut self, table: &DeTable<'_>, schema: &'static Value, at: &Pointer) {
        let properties = schema.get("properties").and_then(Value::as_object);
        let mut meant: HashSet<&str> = HashSet::new();
        for (key, value) in table {
            let key = key.get_ref().as_ref();
            match properties.and_then(|known| known.get(key)) {
                Some(field) => self.value(value, Field::of(field), &at.key(key)),
                None => meant.extend(self.unknown(key, table, schema, at)),
            }
        }
        for key in missing(table, schema) {
            if !meant.contains(key) && self.leaves_open(&at.key(key)) {
                self.found(Finding::error(at.key(key), format!("`{key}` is missing")));
            }
        }
    }

    /// Reports an unknown key. Returns the known one that was meant.
    fn unknown(
        &mut self,
        key: &str,
        table: &DeTable<'_>,
        schema: &'static Value,
        at: &Pointer,
    ) -> Option<&'static str> {
        let place = at.key(key);
        self.spoilt.insert(place.clone(), Kind::Table);
        if is_later(key, at) {
            let message = format!("`{key}` is not supported by this version yet");
            self.findings.push(Finding::error(place, message).on_key());
            // It may stand for any of the keys that seem to be missing here.
            missing(table, schema).for_each(|key| self.silence(&at.key(key)));
            self.silence(at);
            return None;
        }
        let is_told = !veil::is_of_auth(&place.0) || is_word(key);
        let message = if is_told { format!("unknown key `{key}`") } else { "unknown key".to_owned() };
        let finding = Finding::error(place, message).on_key();
        if let Some(inner) = table_with(key, schema) {
            self.findings.push(finding.help(format!("`{key}` is a key of `{inner}`")));
            return None;
        }
        let known = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
        let known = known.map(|(name, _)| name.as_str());
        let meant = nearest(key, known);
        if let Some(meant) = meant {
            self.silence(&at.key(meant));
        }
        self.findings.push(match texts_for(key, schema).filter(|_| is_told) {
            Some(texts) => {
                finding.help(format!("fields stand in `{texts}`: {texts} = {{ {key:?} = \"…\" }}"))
            }
            None => finding.did_you_mean(key, meant),
        });
        meant
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, schema: Field, at: &Pointer) {
        match (value.get_ref(), schema.kind()) {
            (DeValue::Table(table), Kind::Table) => self.table(table, schema.inner, at),
            (DeValue::Table(table), Kind::TextOrTable) => self.table(table, schema.table().inner, at),
            (DeValue::Table(table), Kind::Texts | Kind::Lists) => self.entries(table, schema, at),
            (DeValue::Array(array), Kind::Array) => self.array(array, schema, at),
            (value, _) => {
                if let Err((message, help)) = schema.check(value) {
                    self.spoilt.insert(at.clone(), schema.kind());
                    let (message, help) = match is_secret(value, at) {
                        true => (schema.mismatch(value), None),
                        false => (message, help),
                    };
                    self.found(Finding { help, ..Finding::error(at.clone(), message) });
                }
            }
        }
    }

    fn entries(&mut self, table: &DeTable<'_>, schema: Field, at: &Pointer) {
        for (key, value) in table {
            self.value(value, schema.values(), &at.key(key.get_ref()));
        }
    }

    fn array(&mut self, array: &DeArray<'_>, schema: Field, at: &Pointer) {
        for (index, item) in array.iter().enumerate() {
            self.value(item, schema.items(), &at.index(index));
        }
    }

    fn found(&mut self, finding: Finding) {
        self.silence(&finding.at);
        self.findings.push(finding);
    }

    /// A place and all that it is in.
    fn silence(&mut self, place: &Pointer) {
        self.silenced.insert(place.clone());
        self.silenced.extend(place.ancestors());
    }
}

/// The keys that a table has not and must have.
fn missing<'t>(
    table: &'t DeTable<'_>,
    schema: &'static Value,
) -> impl Iterator<Item = &'static str> + use<'t> {
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    required.filter_map(Value::as_str).filter(|key| !table.contains_key(*key))
}

/// The key of `schema` that takes a table of fields, when `key` looks like a field's name: no key of this file has a
/// hyphen.
fn texts_for(key: &str, schema: &'static Value) -> Option<&'static str> {
    let properties = schema.get("properties").and_then(Value::as_object).filter(|_| key.contains('-'))?;
    let mut texts = properties.iter().filter(|(_, field)| Field::of(field).kind() == Kind::Texts);
    texts.next().map(|(name, _)| name.as_str())
}

/// The key of `schema` that takes a table with the key `key`.
fn table_with(key: &str, schema: &'static Value) -> Option<&'static str> {
    let properties = schema.get("properties").and_then(Value::as_object)?;
    let has = |field: Field| field.inner.get("properties").is_some_and(|keys| keys.get(key).is_some());
    let mut tables = properties.iter().filter(|(_, schema)| has(Field::of(schema)));
    tables.next().map(|(name, _)| name.as_str())
}

/// Whether a key is made as those of this file are, and as a secret hardly is.
fn is_word(key: &str) -> bool {
    const KEY_BYTES_MAX: usize = 24;
    key.len() <= KEY_BYTES_MAX && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// Whether nothing of a value may be repeated.
fn is_secret(value: &DeValue<'_>, at: &Pointer) -> bool {
    veil::is_secret_place(&at.0) || matches!(value, DeValue::String(text) if veil::looks_secret(text))
}

fn is_later(key: &str, table: &Pointer) -> bool {
    let table = table.without_indexes();
    LATER.iter().any(|(of, keys)| *of == table && keys.contains(&key))
}

/// Removes a key, or puts an empty text or table in the place of an array's element, so that the indexes of the others
/// stay what they are.
fn cut(file: &mut DeTable<'_>, pointer: &Pointer, kind: Kind) {
    let steps: Vec<String> = pointer.steps().collect();
    let Some((last, way)) = steps.split_last() else {
        return;
    };
    let Some((first, way)) = way.split_first() else {
        file.remove(last.as_str());
        return;
    };
    let mut value = file.get_mut(first.as_str()).map(Spanned::get_mut);
    for step in way {
        value = value.and_then(|value| below(value, step));
    }
    match value {
        Some(DeValue::Table(table)) => {
            table.remove(last.as_str());
        }
        Some(array) => {
            if let Some(element) = below(array, last) {
                *element = if kind == Kind::Table {
                    DeValue::Table(DeTable::new())
                } else {
                    DeValue::String("".into())
                };
            }
        }
        None => {}
    }
}

fn below<'t, 'i>(value: &'t mut DeValue<'i>, step: &str) -> Option<&'t mut DeValue<'i>> {
    match value {
        DeValue::Table(table) => table.get_mut(step).map(Spanned::get_mut),
        DeValue::Array(array) => array.get_mut(step.parse::<usize>().ok()?).map(Spanned::get_mut),
        _ => None,
    }
}

/// One field of the schema: what stands at the field itself, and what its `$ref` leads to.
#[derive(Clone, Copy)]
pub(crate) struct Field {
    pub(crate) outer: &'static Value,
    pub(crate) inner: &'static Value,
}

/// What kind of value a field takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Table,
    Array,
    Text,
    Duration,
    Size,
    Percentage,
    /// One of a few words.
    Word,
    Integer,
    Number,
    Boolean,
    /// "auto" or an integer.
    AutoOrInteger,
    /// "auto", true or false.
    AutoOrBoolean,
    /// A text or false.
    TextOrFalse,
    /// A text, or the table that is the second choice.
    TextOrTable,
    /// A table of any keys, each with a text.
    Texts,
    /// A table of any keys, each with a list of texts.
    Lists,
}

type Wrong = (String, Option<String>);

impl Field {
    pub(crate) fn of(schema: &'static Value) -> Self {
        Self { outer: schema, inner: resolved(without_null(schema)) }
    }

    /// A keyword, wherever it stands.
    pub(crate) fn get(self, keyword: &str) -> Option<&'static Value> {
        self.outer.get(keyword).or_else(|| self.inner.get(keyword))
    }

    /// What an array's elements are; the field itself when it is no array.
    pub(crate) fn items(self) -> Self {
        self.get("items").map_or(self, Self::of)
    }

    /// What the values of a table of any keys are; the field itself when it is none.
    pub(crate) fn values(self) -> Self {
        self.get("additionalProperties").filter(|values| values.is_object()).map_or(self, Self::of)
    }

    /// The table among several choices; the field itself when there is none.
    pub(crate) fn table(self) -> Self {
        let choices = self.get("oneOf").and_then(Value::as_array);
        let mut choices = choices.into_iter().flatten().map(Self::of);
        choices.find(|choice| choice.inner.get("properties").is_some()).unwrap_or(self)
    }

    pub(crate) fn kind(self) -> Kind {
        if let Some(choices) = self.get("oneOf").and_then(Value::as_array) {
            let auto = choices.iter().any(|choice| choice.get("const").is_some_and(Value::is_string));
            let boolean =
                choices.iter().any(|choice| choice.get("type").is_some_and(|name| name == "boolean"));
            return match auto {
                true if boolean => Kind::AutoOrBoolean,
                true => Kind::AutoOrInteger,
                false if self.table().inner != self.inner => Kind::TextOrTable,
                false => Kind::TextOrFalse,
            };
        }
        match (self.get("x-kind").and_then(Value::as_str), self.type_name()) {
            (Some("duration"), _) => Kind::Duration,
            (Some("size"), _) => Kind::Size,
            (Some("percentage"), _) => Kind::Percentage,
            (_, "string") if self.get("enum").is_some() => Kind::Word,
            (_, "string") => Kind::Text,
            (_, "integer") => Kind::Integer,
            (_, "number") => Kind::Number,
            (_, "boolean") => Kind::Boolean,
            (_, "array") => Kind::Array,
            _ if self.get("additionalProperties").is_some_and(Value::is_object) => match self.values().kind()
            {
                Kind::Array => Kind::Lists,
                _ => Kind::Texts,
            },
            _ => Kind::Table,
        }
    }

    /// The type; for an optional field the one beside null.
    fn type_name(self) -> &'static str {
        match self.get("type") {
            Some(Value::Array(types)) => {
                types.iter().filter_map(Value::as_str).find(|name| *name != "null").unwrap_or("")
            }
            other => other.and_then(Value::as_str).unwrap_or(""),
        }
    }

    /// Checks a value that is no table or array, or not where one is expected.
    fn check(self, value: &DeValue<'_>) -> Result<(), Wrong> {
        match (self.kind(), value) {
            (Kind::Text | Kind::TextOrFalse | Kind::TextOrTable, DeValue::String(_))
            | (Kind::Boolean, DeValue::Boolean(_))
            | (Kind::TextOrFalse, DeValue::Boolean(false)) => Ok(()),
            (Kind::Word, DeValue::String(word)) => self.check_word(word),
            (Kind::AutoOrInteger | Kind::AutoOrBoolean, DeValue::String(word)) if word == "auto" => Ok(()),
            (Kind::AutoOrBoolean, DeValue::Boolean(_)) => Ok(()),
            (Kind::Integer | Kind::AutoOrInteger | Kind::Number, DeValue::Integer(number)) => {
                let number = i64::from_str_radix(number.as_str(), number.radix());
                self.check_range(number.ok().map(|number| number as f64))
            }
            (Kind::Number, DeValue::Float(number)) => self.check_range(number.as_str().parse().ok()),
            (Kind::Duration, DeValue::String(text)) => self.check_between(text, Span::parse),
            (Kind::Size, DeValue::String(text)) => self.check_between(text, Size::parse),
            (Kind::Percentage, DeValue::String(text)) => self.check_between(text, Percent::parse),
            (_, value) => Err(self.wrong_type(value)),
        }
    }

    /// The words that the field takes, when it takes words.
    pub(crate) fn words(self) -> impl Iterator<Item = &'static str> {
        self.get("enum").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    }

    fn check_word(self, word: &str) -> Result<(), Wrong> {
        if self.words().any(|known| known == word) {
            return Ok(());
        }
        let message = format!("expected {}, found {word:?}", self.expected());
        Err((message, nearest(word, self.words()).map(|near| format!("did you mean \"{near}\"?"))))
    }

    /// `None` is a number that does not fit 64 bits.
    fn check_range(self, number: Option<f64>) -> Result<(), Wrong> {
        let bound = |keyword, open| self.get(keyword).and_then(Value::as_f64).unwrap_or(open);
        let (minimum, maximum) = (bound("minimum", f64::NEG_INFINITY), bound("maximum", f64::INFINITY));
        if number.is_some_and(|number| minimum <= number && number <= maximum) {
            return Ok(());
        }
        Err((format!("out of range: it must be {}", self.range().unwrap_or_default()), None))
    }

    fn check_between<T: PartialOrd>(
        self,
        text: &str,
        parse: fn(&str) -> Result<T, String>,
    ) -> Result<(), Wrong> {
        let value = parse(text).map_err(|message| (message, None))?;
        let bound = |keyword| self.get(keyword).and_then(Value::as_str).and_then(|text| parse(text).ok());
        if bound("x-minimum").is_some_and(|least| value < least)
            || bound("x-maximum").is_some_and(|most| value > most)
        {
            return Err((format!("out of range: it must be {}", self.range().unwrap_or_default()), None));
        }
        Ok(())
    }

    /// The range in words, such as `1ms to 1h`.
    pub(crate) fn range(self) -> Option<String> {
        let text = |keyword| match self.get(keyword)? {
            Value::String(text) => Some(text.clone()),
            number => Some(number.to_string()),
        };
        let minimum = text("x-minimum").or_else(|| text("minimum"));
        match (minimum, text("x-maximum").or_else(|| text("maximum"))) {
            (Some(minimum), Some(maximum)) => Some(format!("{minimum} to {maximum}")),
            (Some(minimum), None) => Some(format!("at least {minimum}")),
            (None, Some(maximum)) => Some(format!("at most {maximum}")),
            (None, None) => None,
        }
    }

    /// What the field takes, with its article.
    pub(crate) fn expected(self) -> String {
        match self.kind() {
            Kind::Table => "a table".to_owned(),
            Kind::Array => "an array".to_owned(),
            Kind::Text => "a string".to_owned(),
            Kind::Duration => "a duration such as \"250ms\" or \"30s\"".to_owned(),
            Kind::Size => "a size such as \"512B\" or \"32KiB\"".to_owned(),
            Kind::Percentage => "a percentage such as \"50%\"".to_owned(),
            Kind::Word => self.words().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or "),
            Kind::Integer => "an integer".to_owned(),
            Kind::Number => "a number".to_owned(),
            Kind::Boolean => "true or false".to_owned(),
            Kind::AutoOrInteger => "\"auto\" or an integer".to_owned(),
            Kind::AutoOrBoolean => "\"auto\", true or false".to_owned(),
            Kind::TextOrFalse => "a string or false".to_owned(),
            Kind::TextOrTable => "a string or a table".to_owned(),
            Kind::Texts => "a table of strings".to_owned(),
            Kind::Lists => "a table of lists of strings".to_owned(),
        }
    }

    /// What to write where a table's only required key may be meant by a value.
    fn as_only_key(self, value: &DeValue<'_>) -> Option<String> {
        let [Value::String(key)] = self.get("required").and_then(Value::as_array)?.as_slice() else {
            return None;
        };
        let kind = Self::of(self.inner.get("properties")?.get(key)?).kind();
        match (kind, value) {
            (Kind::Text, DeValue::String(text)) => Some(format!("write {{ {key} = {text:?} }}")),
            (Kind::Integer, DeValue::Integer(number)) => Some(format!("write {{ {key} = {number} }}")),
            _ => None,
        }
    }

    /// What is wrong with a value, without the value.
    fn mismatch(self, value: &DeValue<'_>) -> String {
        let is_of_texts = matches!(self.kind(), Kind::Word | Kind::Duration | Kind::Size | Kind::Percentage);
        let found = match value {
            DeValue::String(_) if is_of_texts => "another string",
            DeValue::String(_) => "a string",
            DeValue::Integer(_) | DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "a truth value",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        let range = self.range().map(|range| format!(", {range}")).unwrap_or_default();
        format!("expected {}{range}, found {found}", self.expected())
    }

    fn wrong_type(self, value: &DeValue<'_>) -> Wrong {
        let message = format!("expected {}, found {}", self.expected(), found(value));
        let help = match (self.kind(), value) {
            (Kind::Duration, DeValue::Integer(number)) if !number.as_str().starts_with('-') => {
                Some(format!("write a unit: \"{}s\"", number.as_str()))
            }
            (Kind::Size, DeValue::Integer(number)) if !number.as_str().starts_with('-') => {
                Some(format!("write a unit: \"{}B\"", number.as_str()))
            }
            (Kind::Percentage, DeValue::Integer(number)) if !number.as_str().starts_with('-') => {
                Some(format!("write \"{}%\"", number.as_str()))
            }
            (Kind::Text, DeValue::Integer(number)) if number.radix() == 10 => {
                Some(format!("write \"{}\"", number.as_str()))
            }
            (Kind::Array, DeValue::String(text)) if self.items().kind() == Kind::Text => {
                Some(format!("write [{text:?}]"))
            }
            (Kind::Table, value) => self.as_only_key(value),
            (Kind::Array, DeValue::Table(_)) => {
                Some("a table of a list has two brackets: [[...]]".to_owned())
            }
            _ => None,
        };
        (message, help)
    }
}

/// What was written, for a message.
fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the string {text:?}"),
        DeValue::Integer(number) => format!("the integer {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "an array".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    const EVERYTHING: &str = include_str!("../../tests/configs/valid/everything.toml");

    /// Values of every type, and texts that are nearly right.
    fn value() -> impl Strategy<Value = toml::Value> {
        let texts = ["", "auto", "json", "30s", "1d1d", "32KiB", "99999999999TiB", "io_uring", "\u{0}"];
        prop_oneof![
            prop::sample::select(texts.to_vec()).prop_map(toml::Value::from),
            any::<i64>().prop_map(toml::Value::from),
            (-2_i64..300).prop_map(toml::Value::from),
            any::<f64>().prop_map(toml::Value::from),
            any::<bool>().prop_map(toml::Value::from),
            Just(toml::Value::Array(vec![toml::Value::from(1)])),
            Just(toml::Value::Array(vec![toml::Value::from("x"), toml::Value::Table(toml::Table::new())])),
            Just(toml::Value::Table(toml::Table::new())),
            Just(toml::Value::Table(toml::Table::from_iter([("x".to_owned(), toml::Value::from(1))]))),
            Just("1979-05-27".parse::<toml::Value>().unwrap_or(toml::Value::from("date"))),
        ]
    }

    /// Puts `new` somewhere into `old`, by the numbers of `way`.
    fn put(old: &mut toml::Value, way: &[usize], new: toml::Value) {
        let Some((step, way)) = way.split_first() else {
            *old = new;
            return;
        };
        match old {
            toml::Value::Table(table) if !table.is_empty() => {
                let at = step % table.len();
                if let Some((_, inner)) = table.iter_mut().nth(at) {
                    put(inner, way, new);
                }
            }
            toml::Value::Array(array) if !array.is_empty() => {
                let at = step % array.len();
                put(&mut array[at], way, new);
            }
            leaf => *leaf = new,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 300 } else { 20_000 }))]

        #[test]
        fn what_the_shape_leaves_serde_takes(
            changes in prop::collection::vec((prop::collection::vec(any::<usize>(), 1..6), value()), 1..8),
        ) {
            let mut file = toml::Value::Table(toml::from_str(EVERYTHING).unwrap());
            for (way, new) in changes {
                put(&mut file, &way, new);
            }
            let text = toml::to_string(&file).unwrap();
            let mut file = DeTable::parse(&text).unwrap();
            let shape = Shape::of(file.get_ref());
            shape.prune(file.get_mut());
            let read = Config::deserialize(toml::de::Deserializer::from(file));
            prop_assert!(read.is_ok(), "{}\n{}", read.unwrap_err(), text);
        }
    }

    #[test]
    fn a_sound_file_has_nothing_to_find() {
        let file = DeTable::parse(EVERYTHING).unwrap();
        assert!(Shape::of(file.get_ref()).findings.is_empty());
    }

    #[test]
    fn every_later_key_is_unknown_in_a_table_that_there_is() {
        for (table, keys) in LATER {
            let steps = Pointer((*table).to_owned()).steps().collect::<Vec<_>>();
            let schema = steps.iter().fold(Field::of(&SCHEMA), |field, step| {
                Field::of(field.inner.get("properties").unwrap().get(step).unwrap()).items().table()
            });
            for key in *keys {
                assert!(
                    schema.inner.get("properties").unwrap().get(*key).is_none(),
                    "{table}/{key} is there"
                );
            }
        }
    }
}
