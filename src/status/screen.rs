//! Where a status is written: stdout, which may be a terminal of some size, a file or a pipe.

use std::io::{self, IsTerminal, Write, stdout};

use terminal_size::{Height, Width, terminal_size_of};

use super::table::{Look, Page};
use crate::logs::stdout_takes_color;

/// The width of what is no terminal, unless COLUMNS says another.
const USUAL_WIDTH: usize = 80;

/// stdout, as far as a status has to know it.
pub(super) struct Screen {
    /// It is a terminal that shows one status after the other, each in the place of the one before.
    redraws: bool,
    is_first: bool,
    color: bool,
}

impl Screen {
    /// For one status.
    pub(super) fn once() -> Self {
        Self { redraws: false, is_first: true, color: stdout_takes_color() && !is_dumb() }
    }

    /// For one after the other.
    pub(super) fn again() -> Self {
        Self { redraws: stdout().is_terminal() && !is_dumb(), ..Self::once() }
    }

    /// Writes what `text` makes of a page that fits.
    ///
    /// # Errors
    /// stdout is closed.
    pub(super) fn show(&mut self, text: impl FnOnce(&Page) -> String) -> io::Result<()> {
        let (width, height) = size();
        let page = Page { width, color: self.color };
        let text = text(&page);
        if self.redraws {
            let first = self.is_first;
            self.is_first = false;
            return self.append(redrawn(&text, &page, height, first).as_bytes());
        }
        let gap = if self.is_first { "" } else { "\n" };
        self.is_first = false;
        self.append((gap.to_owned() + &text).as_bytes())
    }

    /// Writes bytes behind what was written.
    ///
    /// # Errors
    /// stdout is closed.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut stdout = stdout().lock();
        stdout.write_all(bytes)?;
        stdout.flush()
    }
}

/// Whether the terminal says that it knows no escape sequences, as an editor's window does.
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb")
}

/// Over the text before, line by line, so that nothing flickers (ECMA-48: ED, CUP, EL).
fn redrawn(text: &str, page: &Page, height: Option<usize>, is_first: bool) -> String {
    let lines: Vec<_> = text.lines().collect();
    // The cursor stands in a line of its own at the end.
    let room = height.map_or(lines.len(), |height| height.saturating_sub(1));
    let shown = if lines.len() > room { room.saturating_sub(1) } else { lines.len() };
    let mut drawn = String::from(if is_first { "\x1b[2J\x1b[H" } else { "\x1b[H" });
    for line in &lines[..shown] {
        drawn += line;
        drawn += "\x1b[K\n";
    }
    if shown < lines.len() {
        let more = format!("… {} more lines", lines.len() - shown);
        drawn += page.line(&more, Look::Warning).trim_end();
        drawn += "\x1b[K\n";
    }
    drawn + "\x1b[J"
}

/// The width and, of a terminal, the height; COLUMNS goes before what the terminal says.
fn size() -> (usize, Option<usize>) {
    let asked =
        std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).filter(|columns| *columns > 0);
    match terminal_size_of(stdout()) {
        Some((Width(width), Height(height))) => {
            (asked.unwrap_or(usize::from(width)), Some(usize::from(height)))
        }
        None => (asked.unwrap_or(USUAL_WIDTH), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: Page = Page { width: 80, color: false };

    #[test]
    fn a_terminal_is_drawn_over() {
        assert_eq!(redrawn("a\nb\n", &PAGE, Some(10), true), "\x1b[2J\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J");
        assert_eq!(redrawn("a\n", &PAGE, None, false), "\x1b[Ha\x1b[K\n\x1b[J");
    }

    #[test]
    fn what_is_higher_than_the_terminal_is_cut() {
        let drawn = redrawn("a\nb\nc\nd\n", &PAGE, Some(4), false);
        assert_eq!(drawn, "\x1b[Ha\x1b[K\nb\x1b[K\n… 2 more lines\x1b[K\n\x1b[J");
        let whole = redrawn("a\nb\nc\n", &PAGE, Some(4), false);
        assert_eq!(whole, "\x1b[Ha\x1b[K\nb\x1b[K\nc\x1b[K\n\x1b[J");
        assert_eq!(redrawn("a\nb\n", &PAGE, Some(0), false).matches('\n').count(), 1);
    }
}
