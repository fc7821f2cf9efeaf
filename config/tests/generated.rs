//! docs/reference.md and docs/ringway.schema.json say what the schema says.
//! `RINGWAY_UPDATE=1 cargo test -p ringway-config` writes them anew.

use std::fs;
use std::path::Path;

#[track_caller]
fn up_to_date(name: &str, generated: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    if std::env::var_os("RINGWAY_UPDATE").is_some() {
        fs::write(&path, generated).unwrap();
    }
    let stored = fs::read_to_string(&path).unwrap_or_default();
    assert!(stored == generated, "docs/{name} is stale: run `RINGWAY_UPDATE=1 cargo test -p ringway-config`");
}

#[test]
fn the_reference_page() {
    up_to_date("reference.md", &ringway_config::reference_markdown());
}

#[test]
fn the_json_schema() {
    up_to_date("ringway.schema.json", &ringway_config::json_schema());
}
