//! Content types, by the extension of a file's name.

/// What the table of `mime_guess` says otherwise than today's registrations and browsers.
const OWN: [(&str, &str); 6] = [
    ("cjs", "text/javascript"),
    ("map", "application/json"),
    ("mjs", "text/javascript"),
    ("otf", "font/otf"),
    ("ts", "video/mp2t"),
    ("zst", "application/zstd"),
];

/// What a file is of whose name says nothing.
const UNKNOWN: &str = "application/octet-stream";

/// The Content-Type of the file `name`, and whether it is text, which is said to be UTF-8.
pub(super) fn content_type(name: &[u8]) -> (&'static str, bool) {
    let extension = extension(name).unwrap_or_default();
    let own = OWN.iter().find(|(own, _)| own.eq_ignore_ascii_case(extension)).map(|(_, media)| *media);
    let media = own.or_else(|| mime_guess::from_ext(extension).first_raw()).unwrap_or(UNKNOWN);
    (media, is_text(media))
}

/// What stands behind the last dot of the name's last segment.
fn extension(name: &[u8]) -> Option<&str> {
    let file = name.rsplit(|&byte| byte == b'/').next()?;
    let dot = file.iter().rposition(|&byte| byte == b'.').filter(|&dot| dot > 0)?;
    std::str::from_utf8(file.get(dot + 1..)?).ok()
}

fn is_text(media: &str) -> bool {
    media.starts_with("text/")
        || media.ends_with("+json")
        || media.ends_with("+xml")
        || matches!(media, "application/javascript" | "application/json" | "application/xml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_what_browsers_expect() {
        for (name, media, text) in [
            ("index.html", "text/html", true),
            ("a/b.c/main.JS", "text/javascript", true),
            ("main.mjs", "text/javascript", true),
            ("main.js.map", "application/json", true),
            ("style.css", "text/css", true),
            ("data.json", "application/json", true),
            ("app.webmanifest", "application/manifest+json", true),
            ("logo.svg", "image/svg+xml", true),
            ("feed.xml", "text/xml", true),
            ("readme.md", "text/markdown", true),
            ("robots.txt", "text/plain", true),
            ("app.wasm", "application/wasm", false),
            ("font.woff2", "font/woff2", false),
            ("font.otf", "font/otf", false),
            ("photo.jpeg", "image/jpeg", false),
            ("photo.avif", "image/avif", false),
            ("favicon.ico", "image/x-icon", false),
            ("film.mp4", "video/mp4", false),
            ("manual.pdf", "application/pdf", false),
            ("main.js.gz", "application/gzip", false),
            ("main.js.br", UNKNOWN, false),
            ("LICENSE", UNKNOWN, false),
            ("a.b/c", UNKNOWN, false),
            (".html", UNKNOWN, false),
            ("a.", UNKNOWN, false),
        ] {
            assert_eq!(content_type(name.as_bytes()), (media, text), "{name}");
        }
        assert_eq!(content_type(b"a.\xff"), (UNKNOWN, false));
    }
}
