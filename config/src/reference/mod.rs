//! What is generated from the schema: the JSON schema for editors, and the reference page for people. The page's
//! closing sections, on what Ringway itself writes, stand beside this file as `access_log.md` and `errors.md`.

mod examples;

use std::fmt::Write;

use serde_json::Value;

use crate::shape::{Field, Kind, SCHEMA};

/// The JSON schema (draft 2020-12) of the configuration file, for editors. What JSON schema cannot say of a
/// duration or a size stands in `x-kind`, `x-minimum` and `x-maximum`.
pub fn json_schema() -> String {
    let mut schema = SCHEMA.clone();
    tidy(&mut schema);
    format!("{schema:#}\n")
}

/// Leaves out of a table's schema, and out of its definitions, what says nothing in TOML.
fn tidy(schema: &mut Value) {
    let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    for (key, field) in schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        if let Some(field) = field.as_object_mut() {
            tidy_field(field, required.iter().any(|name| name == key));
        }
    }
    for (_, definition) in schema.get_mut("$defs").and_then(Value::as_object_mut).into_iter().flatten() {
        tidy(definition);
    }
}

/// The default of a table repeats those of its keys, that of a required key is none, and TOML has no null.
fn tidy_field(field: &mut serde_json::Map<String, Value>, required: bool) {
    if required || field.get("default").is_some_and(|default| default.is_object() || default.is_null()) {
        field.remove("default");
    }
    if let Some(Value::Array(choices)) = field.remove("anyOf")
        && let Some(Value::Object(only)) =
            choices.into_iter().find(|choice| choice.get("type").is_none_or(|name| name != "null"))
    {
        field.extend(only);
    }
    if let Some(Value::Array(types)) = field.get("type")
        && let Some(only) = types.iter().find(|name| *name != "null").cloned()
    {
        field.insert("type".to_owned(), only);
    }
}

/// The reference page of the configuration file, in Markdown.
pub fn reference_markdown() -> String {
    let mut page = String::from(examples::INTRODUCTION);
    let sections = sections();
    for section in &sections {
        section.write(&mut page, &sections);
    }
    page.push_str(include_str!("access_log.md"));
    page.push_str(include_str!("errors.md"));
    page
}

/// A table with a section of its own.
struct Section {
    /// `` `[[sites]]` ``, or `` `timeouts` of `[[sites]]` ``.
    title: String,
    /// The number of the heading's `#`.
    level: usize,
    text: String,
    /// The schema with the table's keys.
    table: &'static Value,
    example: Option<&'static str>,
}

/// The sections in the page's order: the tables of the file, each followed by those in it that are met there first.
fn sections() -> Vec<Section> {
    let of_file: Vec<_> =
        properties(&SCHEMA).map(|(name, schema)| Section::of_file(name, Field::of(schema))).collect();
    let inner = inner_tables(&of_file);
    let mut inner: Vec<_> =
        inner.iter().map(|inner| (inner.users.first().copied(), inner.section(&of_file))).collect();
    let mut sections = Vec::new();
    for (index, section) in of_file.into_iter().enumerate() {
        sections.push(section);
        sections.extend(inner.extract_if(.., |(first, _)| *first == Some(index)).map(|(_, section)| section));
    }
    sections
}

/// A table that is no table of the file itself.
struct Inner {
    table: &'static Value,
    /// The keys that take it, each once.
    keys: Vec<&'static str>,
    /// The tables of the file that have such keys.
    users: Vec<usize>,
}

fn inner_tables(of_file: &[Section]) -> Vec<Inner> {
    let mut found: Vec<Inner> = Vec::new();
    for (user, section) in of_file.iter().enumerate() {
        for (key, schema) in properties(section.table) {
            let Some(table) = table_of(Field::of(schema)) else { continue };
            if of_file.iter().any(|section| std::ptr::eq(section.table, table)) {
                continue;
            }
            match found.iter_mut().find(|inner| std::ptr::eq(inner.table, table)) {
                Some(inner) => inner.add(key, user),
                None => found.push(Inner { table, keys: vec![key], users: vec![user] }),
            }
        }
    }
    found
}

impl Inner {
    fn add(&mut self, key: &'static str, user: usize) {
        if !self.keys.contains(&key) {
            self.keys.push(key);
        }
        if !self.users.contains(&user) {
            self.users.push(user);
        }
    }

    fn section(&self, of_file: &[Section]) -> Section {
        let keys = self.keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(" and ");
        let users = self.users.iter().filter_map(|user| of_file.get(*user));
        let users = users.map(|section| &*section.title).collect::<Vec<_>>().join(" and ");
        let title = format!("{keys} of {users}");
        Section { title, level: 3, text: text(Field::of(self.table)), table: self.table, example: None }
    }
}

impl Section {
    fn of_file(name: &str, field: Field) -> Self {
        let title = if field.kind() == Kind::Array { format!("`[[{name}]]`") } else { format!("`[{name}]`") };
        let table = table_of(field).unwrap_or(field.inner);
        Self { title, level: 2, text: text(field), table, example: examples::of(name) }
    }

    fn write(&self, page: &mut String, all: &[Self]) {
        let _ = write!(page, "{} {}\n\n{}\n\n", "#".repeat(self.level), self.title, self.text);
        match self.larger(all) {
            Some(larger) => larger.write(page),
            None => keys(page, self.table, all),
        }
        if let Some(example) = self.example {
            let _ = write!(page, "```toml\n{example}```\n\n");
        }
    }

    /// The first table that has all keys of this one, and more: then its keys need not be listed once more.
    fn larger<'s>(&self, all: &'s [Self]) -> Option<Larger<'s>> {
        all.iter().find_map(|section| {
            let keys = properties(section.table);
            let (same, others): (Vec<_>, Vec<_>) =
                keys.partition(|(key, schema)| property(self.table, key) == Some(*schema));
            let is_larger = !others.is_empty() && same.len() == properties(self.table).count();
            is_larger.then(|| Larger { section, others: others.into_iter().map(|(key, _)| key).collect() })
        })
    }

    /// What links to the heading name: its words in lower case, without punctuation.
    fn anchor(&self) -> String {
        let title = self.title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '_' | '-'));
        title.collect::<String>().to_lowercase().replace(' ', "-")
    }
}

/// A table with all keys of another one, and more.
struct Larger<'s> {
    section: &'s Section,
    /// The keys that the other one has not.
    others: Vec<&'static str>,
}

impl Larger<'_> {
    fn write(&self, page: &mut String) {
        let Self { section, others } = self;
        let others = others.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(" and ");
        let _ = write!(
            page,
            "The keys are those of [{}](#{}), without {others}.\n\n",
            section.title,
            section.anchor()
        );
    }
}

/// The table that a field takes, alone, in a list or beside a text.
fn table_of(field: Field) -> Option<&'static Value> {
    let table = field.items().table().inner;
    table.get("properties").is_some().then_some(table)
}

fn properties(schema: &'static Value) -> impl Iterator<Item = (&'static str, &'static Value)> {
    let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    properties.map(|(name, schema)| (name.as_str(), schema))
}

fn property(schema: &'static Value, key: &str) -> Option<&'static Value> {
    schema.get("properties").and_then(|keys| keys.get(key))
}

/// The table of a table's keys.
fn keys(page: &mut String, table: &'static Value, sections: &[Section]) {
    page.push_str("| key | takes | default | range | |\n|---|---|---|---|---|\n");
    let required = table.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    for (key, schema) in properties(table) {
        let field = Field::of(schema);
        let default =
            if required.iter().any(|name| name == key) { "required".to_owned() } else { default(field) };
        let (takes, range) = (takes(field, sections), field.range().unwrap_or_default());
        let _ = writeln!(page, "| `{key}` | {takes} | {default} | {range} | {} |", cell(&text(field)));
    }
    page.push('\n');
}

fn takes(field: Field, sections: &[Section]) -> String {
    let linked = |words: &str| {
        let table = table_of(field);
        let section =
            sections.iter().find(|section| table.is_some_and(|table| std::ptr::eq(section.table, table)));
        section.map_or(words.to_owned(), |section| format!("[{words}](#{})", section.anchor()))
    };
    match field.kind() {
        Kind::Array if field.items().kind() == Kind::Table => linked("list of tables"),
        Kind::Array => "list of strings".to_owned(),
        Kind::Table => linked("table"),
        Kind::Duration => "duration".to_owned(),
        Kind::Size => "size".to_owned(),
        Kind::Percentage => "percentage".to_owned(),
        Kind::Word => field.words().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", "),
        Kind::Text => "string".to_owned(),
        Kind::Integer => "integer".to_owned(),
        Kind::Number => "number".to_owned(),
        Kind::Boolean => "`true`, `false`".to_owned(),
        Kind::AutoOrInteger => "`\"auto\"` or integer".to_owned(),
        Kind::AutoOrBoolean => "`\"auto\"`, `true` or `false`".to_owned(),
        Kind::TextOrFalse => "string or `false`".to_owned(),
        Kind::TextOrTable => format!("string or {}", linked("table")),
        Kind::Texts => "table of strings".to_owned(),
        Kind::Lists => "table of lists of strings".to_owned(),
    }
}

fn default(field: Field) -> String {
    match field.get("default") {
        None | Some(Value::Null) => "–".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "–".to_owned(),
        // That of a table repeats those of its keys.
        Some(Value::Object(_)) => "–".to_owned(),
        Some(value) => format!("`{value}`"),
    }
}

/// The doc comment: the field's own, not its type's, on one line for each paragraph.
fn text(field: Field) -> String {
    let description = field.get("description").and_then(Value::as_str).unwrap_or_default();
    description.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect::<Vec<_>>().join("\n\n")
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace("\n\n", "<br>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_has_one_section() {
        let sections = sections();
        let definitions = SCHEMA.get("$defs").and_then(Value::as_object).unwrap();
        let tables = definitions.iter().filter(|(_, definition)| definition.get("properties").is_some());
        for (name, table) in tables {
            let count = sections.iter().filter(|section| std::ptr::eq(section.table, table)).count();
            assert_eq!(count, 1, "{name}");
        }
    }

    #[test]
    fn links_lead_to_headings() {
        let page = reference_markdown();
        let anchors: Vec<_> = sections().iter().map(Section::anchor).collect();
        assert!(anchors.iter().any(|anchor| anchor == "timeouts-of-sites"), "{anchors:?}");
        let links = page.split("](#").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links {
            assert!(anchors.iter().any(|anchor| anchor == link), "{link}");
        }
    }
}
