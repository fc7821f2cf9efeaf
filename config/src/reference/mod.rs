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
    if let Some(Value::Array(types)) = field.get("type")
        && let Some(only) = types.iter().find(|name| *name != "null").cloned()
    {
        field.insert("type".to_owned(), only);
    }
}

/// The reference page of the configuration file, in Markdown.
pub fn reference_markdown() -> String {
    let mut page = String::from(examples::INTRODUCTION);
    let mut described: Vec<&Value> = Vec::new();
    for (name, schema) in properties(&SCHEMA) {
        section(&mut page, name, Field::of(schema), &mut described);
    }
    page.push_str(include_str!("access_log.md"));
    page.push_str(include_str!("errors.md"));
    page
}

/// One table of the file: what it is, its keys, an example, and the tables in it.
fn section(page: &mut String, name: &str, field: Field, described: &mut Vec<&'static Value>) {
    let (table, heading) = match field.kind() {
        Kind::Array => (field.items(), format!("[[{name}]]")),
        _ => (field, format!("[{name}]")),
    };
    described.push(table.inner);
    let _ = write!(page, "## `{heading}`\n\n{}\n\n", text(field));
    keys(page, table);
    if let Some(example) = examples::of(name) {
        let _ = write!(page, "```toml\n{example}```\n\n");
    }
    for (key, inner) in properties(table.inner) {
        let inner = Field::of(inner);
        if inner.kind() == Kind::Array
            && inner.items().kind() == Kind::Table
            && !described.contains(&inner.items().inner)
        {
            inner_table(page, name, key, inner.items());
        }
    }
}

fn inner_table(page: &mut String, name: &str, key: &str, table: Field) {
    if name == "sites" {
        // A site's rules have the keys of `[[rules]]`, which come last.
        return;
    }
    let _ = write!(page, "### `{key}` of `[[{name}]]`\n\n{}\n\n", text(table));
    keys(page, table);
}

fn properties(schema: &'static Value) -> impl Iterator<Item = (&'static str, &'static Value)> {
    let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    properties.map(|(name, schema)| (name.as_str(), schema))
}

/// The table of a table's keys.
fn keys(page: &mut String, table: Field) {
    page.push_str("| key | takes | default | range | |\n|---|---|---|---|---|\n");
    let required = table.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    for (key, schema) in properties(table.inner) {
        let field = Field::of(schema);
        let default =
            if required.iter().any(|name| name == key) { "required".to_owned() } else { default(field) };
        let range = field.range().unwrap_or_default();
        let _ =
            writeln!(page, "| `{key}` | {} | {default} | {range} | {} |", takes(field), cell(&text(field)));
    }
    page.push('\n');
}

fn takes(field: Field) -> String {
    match field.kind() {
        Kind::Array if field.items().kind() == Kind::Table => "list of tables".to_owned(),
        Kind::Array => "list of strings".to_owned(),
        Kind::Table => "table".to_owned(),
        Kind::Duration => "duration".to_owned(),
        Kind::Size => "size".to_owned(),
        Kind::Word => field.words().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", "),
        Kind::Text => "string".to_owned(),
        Kind::Integer => "integer".to_owned(),
        Kind::Number => "number".to_owned(),
        Kind::Boolean => "`true`, `false`".to_owned(),
        Kind::AutoOrInteger => "`\"auto\"` or integer".to_owned(),
        Kind::TextOrFalse => "string or `false`".to_owned(),
    }
}

fn default(field: Field) -> String {
    match field.get("default") {
        None | Some(Value::Null) => "–".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "–".to_owned(),
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
