//! Aligned tables that fit: columns of numbers as wide as they need, columns of names share what is left.
//!
//! When the names would get too little, the columns with the highest number in `spare` go first.

use super::{Style, Tone, shorten, width};

/// Between two columns.
const GAP: usize = 2;
/// In front of every line.
const INDENT: usize = 2;
/// A column with at least this much to spare is a luxury.
const LUXURY: u8 = 5;

/// One column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    title: &'static str,
    kind: Kind,
    /// 0 always stays; the higher, the sooner it goes.
    spare: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Left-aligned, shortened in its middle.
    Name,
    /// Left-aligned, as wide as it needs.
    Word,
    /// Right-aligned, as wide as it needs.
    Number,
}

/// A cell: its text, which is already clean, and its colour.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    tone: Option<Tone>,
}

/// Columns and rows.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Column {
    pub const fn name(title: &'static str) -> Self {
        Self { title, kind: Kind::Name, spare: 0 }
    }

    pub const fn word(title: &'static str, spare: u8) -> Self {
        Self { title, kind: Kind::Word, spare }
    }

    pub const fn number(title: &'static str, spare: u8) -> Self {
        Self { title, kind: Kind::Number, spare }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, tone: None }
    }
}

impl Cell {
    pub fn toned(text: String, tone: Tone) -> Self {
        Self { text, tone: Some(tone) }
    }

    /// The same cell in a colour when `condition` holds.
    pub fn toned_if(text: String, tone: Tone, condition: bool) -> Self {
        Self { text, tone: condition.then_some(tone) }
    }
}

impl Table {
    pub fn new(columns: Vec<Column>) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row; it has one cell for each column.
    pub fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells);
    }

    /// The table's lines in `style.width` columns. Columns without any content are left out.
    pub fn render(&self, style: &Style) -> String {
        let kept = self.fitting(style.width);
        let mut page = String::new();
        let titles: Vec<Cell> =
            self.columns.iter().map(|column| Cell::toned(column.title.into(), Tone::Dim)).collect();
        for row in std::iter::once(&titles).chain(&self.rows) {
            let mut line = " ".repeat(INDENT);
            for (position, (index, room)) in kept.iter().enumerate() {
                let Some(cell) = row.get(*index) else { continue };
                let text = shorten(&cell.text, *room);
                let blanks = " ".repeat(room - width(&text));
                let painted = cell.tone.map_or_else(|| text.to_string(), |tone| style.paint(tone, &text));
                if position > 0 {
                    line.extend(std::iter::repeat_n(' ', GAP));
                }
                if self.columns[*index].kind == Kind::Number {
                    line.extend([blanks, painted]);
                } else {
                    line.extend([painted, blanks]);
                }
            }
            page.push_str(line.trim_end());
            page.push('\n');
        }
        page
    }

    /// The columns that are shown, each with its width.
    fn fitting(&self, columns: usize) -> Vec<(usize, usize)> {
        let needs: Vec<usize> = (0..self.columns.len()).map(|index| self.need(index)).collect();
        let mut kept: Vec<usize> = (0..self.columns.len()).filter(|index| needs[*index] > 0).collect();
        loop {
            let (names, others): (Vec<usize>, Vec<usize>) =
                kept.iter().partition(|index| self.columns[**index].kind == Kind::Name);
            let taken = INDENT
                + others.iter().map(|index| needs[*index]).sum::<usize>()
                + GAP * kept.len().saturating_sub(1);
            let room = columns.saturating_sub(taken);
            let first_to_go = others.iter().copied().max_by_key(|index| self.columns[*index].spare);
            let spare = first_to_go.map_or(0, |index| self.columns[index].spare);
            let enough = enough_for_a_name(columns, spare);
            let wanted: usize = names.iter().map(|index| needs[*index].min(enough)).sum();
            match first_to_go {
                Some(index) if room < wanted && spare > 0 => {
                    kept.retain(|other| *other != index);
                }
                _ => {
                    let shares = divide(room, &names.iter().map(|index| needs[*index]).collect::<Vec<_>>());
                    let of_name = |index| names.iter().position(|name| *name == index).map(|at| shares[at]);
                    return kept
                        .iter()
                        .map(|index| (*index, of_name(*index).unwrap_or(needs[*index])))
                        .collect();
                }
            }
        }
    }

    /// What a column needs to show everything; 0 when it has nothing to show.
    fn need(&self, index: usize) -> usize {
        let content = self
            .rows
            .iter()
            .filter_map(|row| row.get(index))
            .map(|cell| width(&cell.text))
            .max()
            .unwrap_or(0);
        if content == 0 { 0 } else { content.max(self.columns[index].title.len()) }
    }
}

/// The width that a name should get before a column with `spare` is shown: half the line before a luxury, two fifths
/// before anything else that can go.
fn enough_for_a_name(columns: usize, spare: u8) -> usize {
    if spare >= LUXURY { columns / 2 } else { columns * 2 / 5 }
}

/// Shares `room` among names: the short ones get what they need, the others equal parts of the rest.
fn divide(room: usize, needs: &[usize]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..needs.len()).collect();
    order.sort_by_key(|index| needs[*index]);
    let mut shares = vec![0; needs.len()];
    let mut left = room;
    for (done, index) in order.iter().enumerate() {
        let part = left / (needs.len() - done);
        // Even without room a name keeps a letter, so that the line tells that something is there.
        shares[*index] = needs[*index].min(part).max(1);
        left = left.saturating_sub(shares[*index]);
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(vec![
            Column::name("ROUTE"),
            Column::number("COUNT", 0),
            Column::number("p90", 2),
            Column::number("QUEUE", 1),
            Column::word("FLAGS", 0),
        ]);
        for (route, count) in
            [("GET /orders/{id}", "1,234"), ("GET /a/very/long/route/that/goes/on/and/on/{id}", "7")]
        {
            table.row(vec![
                route.to_owned().into(),
                Cell::toned(count.into(), Tone::Bad),
                "1.23 ms".to_owned().into(),
                "9.99 ms".to_owned().into(),
                String::new().into(),
            ]);
        }
        table
    }

    #[test]
    fn wide_tables_show_every_column_with_content() {
        assert_eq!(
            sample().render(&Style::plain(100)),
            "  ROUTE                                            COUNT      p90    QUEUE\n\
             \x20 GET /orders/{id}                                 1,234  1.23 ms  9.99 ms\n\
             \x20 GET /a/very/long/route/that/goes/on/and/on/{id}      7  1.23 ms  9.99 ms\n"
        );
    }

    #[test]
    fn narrow_tables_shorten_names_and_drop_what_is_spare() {
        let narrow = Style { width: 40, ..Style::plain(60) };
        assert_eq!(
            sample().render(&narrow),
            "  ROUTE                   COUNT    QUEUE\n\
             \x20 GET /orders/{id}        1,234  9.99 ms\n\
             \x20 GET /a/very/lo\u{2026}on/{id}      7  9.99 ms\n"
        );
    }

    #[test]
    fn colours_do_not_move_columns() {
        let style = Style { colour: true, ..Style::plain(100) };
        let page = sample().render(&style);
        assert!(page.contains("    \x1b[31m7\x1b[0m  1.23 ms"), "{page}");
    }

    #[test]
    fn names_share_the_room() {
        assert_eq!(divide(30, &[10, 100]), [10, 20]);
        assert_eq!(divide(30, &[100, 100]), [15, 15]);
        assert_eq!(divide(0, &[5]), [1]);
        assert_eq!(divide(5, &[]), Vec::<usize>::new());
    }
}
