//! Which configuration file a command without one means.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where a file is looked for, in this order.
const PLACES: [&str; 2] = ["./ringway.toml", "/etc/ringway/ringway.toml"];

/// The file that was named, or the first that is there of the usual ones.
///
/// # Errors
/// None was named, and none is there.
pub(crate) fn named_or_found(named: Option<PathBuf>) -> Result<PathBuf, NotFound> {
    named.or_else(|| first_existing(&PLACES)).ok_or(NotFound)
}

/// Something that cannot be read, or is no file, counts as there: to pass it over silently would run another
/// configuration than the one that was meant.
fn first_existing(places: &[&str]) -> Option<PathBuf> {
    places.iter().map(Path::new).find(|path| path.symlink_metadata().is_ok()).map(Path::to_owned)
}

/// There is no configuration file.
#[derive(Debug)]
pub(crate) struct NotFound;

impl fmt::Display for NotFound {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "no configuration file: looked for {}", PLACES.join(", then "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_with_a_file_wins_and_a_named_file_is_not_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let places = ["first.toml", "second.toml"].map(|name| folder.path().join(name));
        let places = places.each_ref().map(|path| path.to_str().unwrap());
        assert_eq!(first_existing(&places), None);
        std::fs::write(places[1], "").unwrap();
        assert_eq!(first_existing(&places), Some(places[1].into()));
        std::fs::write(places[0], "").unwrap();
        assert_eq!(first_existing(&places), Some(places[0].into()));
        let named = PathBuf::from("not-there.toml");
        assert_eq!(named_or_found(Some(named.clone())).unwrap(), named);
    }

    #[test]
    fn a_link_to_nowhere_is_not_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("ringway.toml");
        std::os::unix::fs::symlink("gone.toml", &link).unwrap();
        assert_eq!(first_existing(&[link.to_str().unwrap()]), Some(link));
    }

    #[test]
    fn it_says_where_it_looked() {
        let told = NotFound.to_string();
        assert!(told.contains("./ringway.toml") && told.contains("/etc/ringway/ringway.toml"), "{told}");
    }
}
