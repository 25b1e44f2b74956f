//! How text is set for a person: colours, the terminal's width, and names made safe to print.
//!
//! Comes in: strings from the wire, which a hostile client may have written, and what stdout is. Goes out: strings
//! that neither move the cursor nor break a table. Numbers are in `units`, aligned columns in `table`.

pub mod table;
pub mod units;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::IsTerminal as _;

/// The narrowest and the widest that a report is set.
const NARROWEST: usize = 60;
const WIDEST: usize = 140;
/// Where nothing tells the width: a file or a pipe, and a terminal that does not know its own (a serial console).
const WIDTH_OF_FILES: usize = 120;
const WIDTH_OF_TERMINALS: usize = 80;

/// More marks than this on one letter are an attack on the lines around it.
const MARKS_PER_LETTER: usize = 3;

/// What `--color` asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColourChoice {
    #[default]
    Auto,
    Always,
    Never,
}

/// How to set text for one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Style {
    pub colour: bool,
    /// Columns to fit a report into.
    pub width: usize,
    /// Columns that a single line must not pass; `None` where no terminal would wrap it.
    pub line: Option<usize>,
}

/// What a piece of text says, so that colours are chosen in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Heading,
    Dim,
    Good,
    Warning,
    Bad,
}

impl Style {
    /// For files and tests: no colours.
    pub fn plain(width: usize) -> Self {
        Self { colour: false, width: width.clamp(NARROWEST, WIDEST), line: None }
    }

    /// For a file that a report is written to.
    pub fn for_files() -> Self {
        Self::plain(WIDTH_OF_FILES)
    }

    /// For stdout as it is now. An explicit `--color always` wins over `NO_COLOR`, as in other tools.
    pub fn for_stdout(choice: ColourChoice) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        let colour = match choice {
            ColourChoice::Always => true,
            ColourChoice::Never => false,
            ColourChoice::Auto => terminal && !no_color && !dumb,
        };
        if !terminal {
            return Self { colour, ..Self::for_files() };
        }
        let columns = terminal_columns().unwrap_or(WIDTH_OF_TERMINALS);
        Self { colour, width: columns.clamp(NARROWEST, WIDEST), line: Some(columns.max(NARROWEST)) }
    }

    /// `text` in the colour of `tone`, or as it is.
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        if !self.colour || text.is_empty() {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Heading => "1",
            Tone::Dim => "2",
            Tone::Good => "32",
            Tone::Warning => "33",
            Tone::Bad => "31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// The columns of the terminal on stdout, if it knows them.
fn terminal_columns() -> Option<usize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one winsize to the pointer given, which outlives the call.
    let answer = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    (answer == 0 && size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// `text` with everything that a terminal would obey or hide written out: control characters and escape sequences,
/// marks that turn the writing's direction, invisible characters, and piles of combining marks.
pub fn clean(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    let mut marks = 0;
    for character in text.chars() {
        marks = if char_width(character) == 0 { marks + 1 } else { 0 };
        if character.is_control() {
            let _ = write!(safe, "\\x{:02x}", u32::from(character));
        } else if is_invisible(character) || marks > MARKS_PER_LETTER {
            let _ = write!(safe, "\\u{{{:x}}}", u32::from(character));
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

/// Characters that show nothing or reorder what is around them.
fn is_invisible(character: char) -> bool {
    matches!(u32::from(character),
        0xad | 0x61c | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff | 0xfff9..=0xfffb
        | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a | 0xe0000..=0xe007f)
}

/// Columns that `text` takes on a terminal. `text` has no control characters.
pub fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().map(char_width).sum() }
}

/// Columns of one character: 0 for combining marks, 2 for East Asian wide ones and emoji (the blocks of UAX #11).
fn char_width(character: char) -> usize {
    match u32::from(character) {
        0..0x300 => 1,
        0x300..=0x36f
        | 0x483..=0x489
        | 0x1ab0..=0x1aff
        | 0x1dc0..=0x1dff
        | 0x20d0..=0x20ff
        | 0xfe00..=0xfe0f
        | 0xfe20..=0xfe2f
        | 0xe0100..=0xe01ef => 0,
        0x1100..=0x115f
        | 0x231a..=0x231b
        | 0x2e80..=0x303e
        | 0x3041..=0xa4cf
        | 0xa960..=0xa97f
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff01..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f
        | 0x1f680..=0x1f6ff
        | 0x1f900..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// `text` in at most `columns`, its middle left out: both ends of a route or a statement tell more than one end alone.
pub fn shorten(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    if columns == 0 {
        return Cow::Borrowed("");
    }
    let room = columns - 1;
    let tail_room = room / 3;
    let head = take(text.chars(), room - tail_room);
    let tail: String = take(text.chars().rev(), tail_room).chars().rev().collect();
    // Marks whose letter was cut off would land on the sign for what is missing.
    let tail = tail.trim_start_matches(|character| char_width(character) == 0);
    Cow::Owned(format!("{head}\u{2026}{tail}"))
}

/// The first characters that fit.
fn take(characters: impl Iterator<Item = char>, columns: usize) -> String {
    let mut left = columns;
    characters
        .take_while(|character| match left.checked_sub(char_width(*character)) {
            Some(rest) => {
                left = rest;
                true
            }
            None => false,
        })
        .collect()
}

/// Prose broken into lines of at most `columns`, the first behind `first`, the others behind as many blanks.
pub fn wrap(text: &str, columns: usize, first: &str) -> String {
    let indent = width(first);
    let mut page = String::from(first);
    let mut column = indent;
    for word in text.split_whitespace() {
        let word = shorten(word, columns.saturating_sub(indent).max(1));
        if column > indent && column + 1 + width(&word) > columns {
            let _ = write!(page, "\n{:indent$}", "");
            column = indent;
        } else if column > indent {
            page.push(' ');
            column += 1;
        }
        page.push_str(&word);
        column += width(&word);
    }
    page.push('\n');
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_written_out() {
        assert_eq!(clean("/orders/{id}"), "/orders/{id}");
        assert_eq!(clean("/a\x1b[2J\x07\nb\u{9b}31m"), "/a\\x1b[2J\\x07\\x0ab\\x9b31m");
        assert_eq!(clean("/\u{202e}gpj.exe\u{200b}"), "/\\u{202e}gpj.exe\\u{200b}");
        assert_eq!(clean("/caf\u{e9}/\u{6771}\u{4eac}"), "/caf\u{e9}/\u{6771}\u{4eac}");
        let pile = format!("a{}", "\u{301}".repeat(5));
        assert_eq!(clean(&pile), "a\u{301}\u{301}\u{301}\\u{301}\\u{301}");
    }

    #[test]
    fn wide_characters_count_twice_and_marks_not_at_all() {
        assert_eq!(width("abc"), 3);
        assert_eq!(width("\u{6771}\u{4eac}"), 4);
        assert_eq!(width("e\u{301}"), 1);
        assert_eq!(width("\u{1f600}"), 2);
    }

    #[test]
    fn the_middle_is_left_out() {
        assert_eq!(shorten("/short", 6), "/short");
        assert_eq!(shorten("/api/v1/customers/{id}/orders", 13), "/api/v1/\u{2026}ders");
        for columns in 0..20 {
            let wide =
                shorten("/\u{6771}\u{4eac}/\u{6771}\u{4eac}/e\u{301}e\u{301}/\u{1f600}\u{1f600}", columns);
            assert!(width(&wide) <= columns, "{wide} in {columns}");
        }
    }

    #[test]
    fn prose_is_wrapped_behind_its_mark() {
        assert_eq!(wrap("one two three four", 12, "  - "), "  - one two\n    three\n    four\n");
        assert_eq!(wrap("", 12, "- "), "- \n");
        assert!(wrap(&"x".repeat(500), 20, "").trim_end().chars().count() <= 20);
    }

    #[test]
    fn colours_only_where_wanted() {
        let plain = Style::plain(80);
        assert_eq!(plain.paint(Tone::Bad, "500"), "500");
        assert_eq!(Style { colour: true, ..plain }.paint(Tone::Bad, "500"), "\x1b[31m500\x1b[0m");
        assert!(!Style::for_stdout(ColourChoice::Never).colour);
        assert!(Style::for_stdout(ColourChoice::Always).colour);
        assert_eq!(Style::plain(10).width, 60);
        assert_eq!(Style::plain(1000).width, 140);
    }
}
