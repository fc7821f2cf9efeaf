//! Tables that fit a terminal: where there is no room for all, texts are cut, then whole columns go, and no line is ever
//! longer than it may be.

use unicode_width::UnicodeWidthChar;

/// Between two columns.
const GAP: &str = "  ";

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) title: &'static str,
    pub(super) side: Side,
    /// Cells may be cut down to so many places; `None`: never.
    pub(super) cut_to: Option<usize>,
    /// Columns without room go in the order of this number, the highest first; 0 stays whatever happens.
    pub(super) goes: u8,
}

/// Where a cell's text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// How a text looks on a terminal that shows colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Look {
    #[default]
    Plain,
    Title,
    Warning,
    Bad,
}

impl Look {
    /// What switches it on (ECMA-48, SGR).
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Title => Some("\x1b[1m"),
            Self::Warning => Some("\x1b[33m"),
            Self::Bad => Some("\x1b[1;31m"),
        }
    }
}

/// One text in a table.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    text: String,
    /// What stands there where there is no room for the text; empty: the text, cut.
    short: String,
    look: Look,
}

impl Cell {
    /// A text, whatever is in it.
    pub(super) fn new(text: &str, look: Look) -> Self {
        Self { text: clean(text), short: String::new(), look }
    }

    /// With what is written where there is no room for the text: it tells more than half a sentence does.
    pub(super) fn or(self, short: &str) -> Self {
        Self { short: clean(short), ..self }
    }

    /// What is written in so many places.
    fn within(&self, width: usize) -> String {
        let is_short = places(&self.text) > width && !self.short.is_empty();
        cut(if is_short { &self.short } else { &self.text }, width)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(&text, Look::Plain)
    }
}

/// Where it is written to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    /// Places in a line.
    pub(super) width: usize,
    pub(super) color: bool,
}

impl Page {
    /// A line of one text, cut where it does not fit.
    pub(super) fn line(&self, text: &str, look: Look) -> String {
        let mut line = self.painted(&cut(&clean(text), self.width), look);
        line.push('\n');
        line
    }

    /// A table with its titles; nothing without rows.
    pub(super) fn table(&self, columns: &[Column], rows: &[Vec<Cell>]) -> String {
        if rows.is_empty() {
            return String::new();
        }
        let widths = widths(columns, rows, self.width);
        let titles: Vec<_> = columns.iter().map(|column| Cell::new(column.title, Look::Title)).collect();
        let rows = std::iter::once(&titles).chain(rows);
        rows.map(|row| self.row(columns, &widths, row)).collect()
    }

    fn row(&self, columns: &[Column], widths: &[Option<usize>], cells: &[Cell]) -> String {
        let mut line = String::new();
        // Where the line ends so far, and where the column begins.
        let (mut end, mut begin) = (0, 0);
        for ((column, width), cell) in columns.iter().zip(widths).zip(cells) {
            let Some(width) = *width else { continue };
            let text = cell.within(width);
            let room = width.saturating_sub(places(&text));
            let start = if column.side == Side::Right { begin + room } else { begin };
            if !text.is_empty() && start < self.width {
                let text = cut(&text, self.width - start);
                line.extend(std::iter::repeat_n(' ', start - end));
                line += &self.painted(&text, cell.look);
                end = start + places(&text);
            }
            begin += width + GAP.len();
        }
        line.push('\n');
        line
    }

    fn painted(&self, text: &str, look: Look) -> String {
        match look.code() {
            Some(code) if self.color => format!("{code}{text}\x1b[0m"),
            _ => text.to_owned(),
        }
    }
}

/// How wide each column is; `None`: it has gone, or there is nothing in it.
fn widths(columns: &[Column], rows: &[Vec<Cell>], width: usize) -> Vec<Option<usize>> {
    let widest =
        |index: usize| rows.iter().filter_map(|row| row.get(index)).map(|cell| places(&cell.text)).max();
    let natural = |(index, column): (usize, &Column)| {
        let widest = widest(index).filter(|widest| *widest > 0)?;
        // What is wider than the page is cut in any case.
        Some(widest.max(places(column.title)).min(width))
    };
    let mut wanted: Vec<Option<usize>> = columns.iter().enumerate().map(natural).collect();
    loop {
        let mut widths = wanted.clone();
        if shrink(columns, &mut widths, width) {
            return widths;
        }
        let last = |(index, column): &(usize, &Column)| wanted[*index].is_some() && column.goes > 0;
        match columns.iter().enumerate().filter(last).max_by_key(|(_, column)| column.goes) {
            Some((index, _)) => wanted[index] = None,
            // What is left is cut as each line is written.
            None => return widths,
        }
    }
}

/// Makes columns that may be cut narrower, always the widest, until all fit; whether they do.
fn shrink(columns: &[Column], widths: &mut [Option<usize>], width: usize) -> bool {
    loop {
        let shown = widths.iter().flatten().count();
        let total = widths.iter().flatten().sum::<usize>() + GAP.len() * shown.saturating_sub(1);
        if total <= width {
            return true;
        }
        let may_be_cut = columns.iter().zip(&mut *widths).filter_map(|(column, width)| {
            let (cut_to, width) = (column.cut_to?, width.as_mut()?);
            (*width > cut_to).then_some(width)
        });
        match may_be_cut.max_by_key(|width| **width) {
            Some(widest) => *widest -= 1,
            None => return false,
        }
    }
}

/// A text without anything that moves the cursor, changes a terminal's state or turns the direction of what follows.
fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for character in text.chars() {
        // Quotes and backslashes are escaped for programs, and here is none.
        if matches!(character, '"' | '\'' | '\\') {
            cleaned.push(character);
        } else {
            cleaned.extend(character.escape_debug());
        }
    }
    cleaned
}

/// How many places of a terminal's line a text takes.
fn places(text: &str) -> usize {
    text.chars().filter_map(UnicodeWidthChar::width).sum()
}

/// As much of a text as fits, with a sign that there was more.
fn cut(text: &str, width: usize) -> String {
    if places(text) <= width {
        return text.to_owned();
    }
    let mut left = width.saturating_sub(1);
    let fits = |character: &char| {
        let places = character.width().unwrap_or_default();
        let fits = places <= left;
        left = left.saturating_sub(places);
        fits
    };
    let begin: String = text.chars().take_while(fits).collect();
    if width == 0 { begin } else { begin + "…" }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column { title: "NAME", side: Side::Left, cut_to: Some(6), goes: 0 },
        Column { title: "COUNT", side: Side::Right, cut_to: None, goes: 2 },
        Column { title: "EMPTY", side: Side::Right, cut_to: None, goes: 0 },
        Column { title: "WHY", side: Side::Left, cut_to: Some(5), goes: 1 },
    ];

    fn cell(text: &str) -> Cell {
        Cell::new(text, Look::Plain)
    }

    fn rows() -> Vec<Vec<Cell>> {
        vec![
            vec![cell("one"), cell("1"), cell(""), cell("")],
            vec![cell("a long name"), cell("22"), cell(""), cell("a long reason")],
        ]
    }

    fn table(width: usize) -> String {
        Page { width, color: false }.table(&COLUMNS, &rows())
    }

    #[test]
    fn what_fits_is_shown_whole() {
        let expected = "NAME         COUNT  WHY\none              1\na long name     22  a long reason\n";
        assert_eq!(table(80), expected);
        assert_eq!(table(33), expected);
    }

    #[test]
    fn texts_are_cut_and_then_columns_go() {
        assert_eq!(table(28), "NAME        COUNT  WHY\none             1\na long na…     22  a long r…\n");
        assert_eq!(table(20), "NAME    COUNT  WHY\none         1\na lon…     22  a lo…\n");
        assert_eq!(table(19), "NAME       WHY\none\na long n…  a long …\n");
        assert_eq!(table(12), "NAME\none\na long name\n");
        assert_eq!(table(4), "NAME\none\na l…\n");
        assert_eq!(table(1), "…\n…\n…\n");
    }

    #[test]
    fn a_short_text_stands_where_the_long_one_does_not_fit() {
        let why = |width| {
            let row = [vec![
                cell("x").or("never"),
                Cell::default(),
                Cell::default(),
                cell("a long reason").or("short"),
            ]];
            let table = Page { width, color: false }.table(&COLUMNS, &row);
            table.lines().last().unwrap_or_default().to_owned()
        };
        assert_eq!(why(19), "x     a long reason");
        assert_eq!(why(18), "x     short");
        assert_eq!(why(11), "x     short");
        assert_eq!(why(10), "x");
    }

    #[test]
    fn no_line_is_longer_than_it_may_be() {
        for width in 0..60 {
            for line in table(width).lines() {
                assert!(places(line) <= width && !line.ends_with(' '), "{width}: {line:?}");
            }
        }
    }

    #[test]
    fn wide_characters_take_two_places() {
        assert_eq!(places("上海"), 4);
        assert_eq!(cut("上海上海", 5), "上海…");
        assert_eq!(cut("上海上海", 4), "上…");
        assert_eq!(cut("上海", 4), "上海");
    }

    #[test]
    fn nothing_reaches_the_terminal_but_text() {
        assert_eq!(clean("a\x1b[2J\r\n\u{7f}\u{9b}"), "a\\u{1b}[2J\\r\\n\\u{7f}\\u{9b}");
        assert_eq!(clean("\u{202e}evil\u{200b}"), "\\u{202e}evil\\u{200b}");
        assert_eq!(clean("it's \"ä\" \\ 上海"), "it's \"ä\" \\ 上海");
        let line = Page { width: 80, color: false }.line("a\x1b]0;title\x07", Look::Bad);
        assert_eq!(line, "a\\u{1b}]0;title\\u{7}\n");
    }

    #[test]
    fn colours_take_no_places() {
        let page = Page { width: 3, color: true };
        assert_eq!(page.line("abcd", Look::Bad), "\x1b[1;31mab…\x1b[0m\n");
        let columns = [COLUMNS[0], COLUMNS[1]];
        let rows = [vec![Cell::new("x", Look::Warning), cell("1")]];
        let table = Page { width: 80, color: true }.table(&columns, &rows);
        assert_eq!(table, "\x1b[1mNAME\x1b[0m  \x1b[1mCOUNT\x1b[0m\n\x1b[33mx\x1b[0m         1\n");
    }
}
