//! Tables that fit a terminal. Pure: the width is handed in.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::configuration::suggest::steers;

/// What may happen to a column when the terminal is too narrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// Nothing: people copy from it.
    Whole,
    /// Its cells may be cut.
    Cut,
    /// It may be left out; the rightmost goes first.
    Drop,
}

/// A column: its title, and what may happen to it.
pub(super) type Column<'a> = (&'a str, Fit);

/// The least that is left of a cell that is cut.
const LEAST: usize = 12;
const GAP: usize = 2;

/// The table with its titles. `width` is that of the terminal; without one, nothing is lost.
pub(super) fn table(columns: &[Column], rows: &[Vec<String>], width: Option<usize>) -> String {
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(at, (title, _))| {
            let cells = rows.iter().map(|row| length(&row[at]));
            cells.chain([length(title)]).max().unwrap_or_default()
        })
        .collect();
    let widths = fitted(columns, widths, width.unwrap_or(usize::MAX));
    let titles = columns.iter().map(|(title, _)| (*title).to_owned()).collect();
    let lines = std::iter::once(&titles).chain(rows).map(|row| line(row, &widths));
    lines.collect::<Vec<_>>().join("\n")
}

/// The widths that fit; nothing for a column that is left out.
fn fitted(columns: &[Column], widths: Vec<usize>, most: usize) -> Vec<Option<usize>> {
    let mut widths: Vec<Option<usize>> = widths.into_iter().map(Some).collect();
    let total = |widths: &[Option<usize>]| -> usize {
        widths.iter().flatten().map(|it| it + GAP).sum::<usize>().saturating_sub(GAP)
    };
    for (at, (_, fit)) in columns.iter().enumerate().rev() {
        if *fit == Fit::Drop && total(&widths) > most {
            widths[at] = None;
        }
    }
    while total(&widths) > most {
        let too_much = total(&widths) - most;
        let cuttable = (0..columns.len()).filter(|at| columns[*at].1 == Fit::Cut);
        let widest = cuttable.filter_map(|at| Some((widths[at]?, at))).max();
        let Some((present, at)) = widest.filter(|(present, _)| *present > LEAST) else { break };
        // One at a time would be fairer; the widest alone is what people expect to be cut.
        widths[at] = Some(present.saturating_sub(too_much).max(LEAST));
    }
    widths
}

fn line(row: &[String], widths: &[Option<usize>]) -> String {
    let mut line = String::new();
    for (cell, width) in row.iter().zip(widths) {
        let Some(width) = width else { continue };
        let cell = cut(cell, *width);
        line.push_str(&cell);
        line.extend(std::iter::repeat_n(' ', (width + GAP).saturating_sub(length(&cell))));
    }
    line.trim_end().to_owned()
}

/// What stands in a table for a character.
fn printable(it: char) -> char {
    if it.is_control() {
        ' '
    } else if steers(it) {
        char::REPLACEMENT_CHARACTER
    } else {
        it
    }
}

/// A text in at most so many columns of a terminal, and in one line.
pub(super) fn cut(text: &str, most: usize) -> String {
    let one_line: String = text.chars().map(printable).collect();
    if length(&one_line) <= most {
        return one_line;
    }
    let mut left = most.saturating_sub(1);
    let fits = |it: &char| match left.checked_sub(it.width().unwrap_or_default()) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    let mut cut: String = one_line.chars().take_while(fits).collect();
    cut.push('…');
    cut
}

/// Columns of a terminal: a character of Chinese or Japanese takes two.
fn length(text: &str) -> usize {
    text.width()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] =
        [("ID", Fit::Whole), ("TEXT", Fit::Cut), ("STATE", Fit::Whole), ("DATE", Fit::Drop)];

    fn shown(width: Option<usize>) -> String {
        let row = |id: &str, text: &str| {
            vec![id.to_owned(), text.to_owned(), "ACTIVE".to_owned(), "2026-01-01".to_owned()]
        };
        let rows = [row("a1", "a long description of it"), row("b22", "short\nlines")];
        table(&COLUMNS, &rows, width)
    }

    #[test]
    fn nothing_is_lost_without_a_terminal() {
        assert_eq!(
            shown(None),
            "ID   TEXT                      STATE   DATE\n\
             a1   a long description of it  ACTIVE  2026-01-01\n\
             b22  short lines               ACTIVE  2026-01-01"
        );
    }

    #[test]
    fn columns_go_before_cells_are_cut() {
        assert_eq!(
            shown(Some(40)),
            "ID   TEXT                      STATE\n\
             a1   a long description of it  ACTIVE\n\
             b22  short lines               ACTIVE"
        );
        assert_eq!(
            shown(Some(30)),
            "ID   TEXT               STATE\n\
             a1   a long descripti…  ACTIVE\n\
             b22  short lines        ACTIVE"
        );
    }

    #[test]
    fn what_people_copy_stays_whole_however_narrow_it_is() {
        assert_eq!(
            shown(Some(5)),
            "ID   TEXT          STATE\n\
             a1   a long desc…  ACTIVE\n\
             b22  short lines   ACTIVE"
        );
    }

    #[test]
    fn a_wide_character_takes_two_columns() {
        let rows = [vec!["支払いの通知".to_owned(), "a".to_owned()]];
        let columns = [("TEXT", Fit::Cut), ("ID", Fit::Whole)];
        assert_eq!(table(&columns, &rows, None), "TEXT          ID\n支払いの通知  a");
        assert_eq!(cut("支払いの通知", 12), "支払いの通知");
        assert_eq!(cut("支払いの通知", 11), "支払いの通…");
        assert_eq!(cut("支払いの通知", 10), "支払いの…");
    }

    #[test]
    fn no_cell_steers_the_terminal() {
        let text = "a\u{202e}b\u{2066}c\u{200f}d\u{61c}e\u{feff}f\u{1b}[31m \u{e0041}";
        assert_eq!(cut(text, 40), "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}e\u{fffd}f [31m \u{fffd}");
        let family = "👨\u{200d}👩 می\u{200c}خواهم";
        assert_eq!(cut(family, 40), family);
    }

    #[test]
    fn a_table_without_rows_has_its_titles() {
        assert_eq!(table(&COLUMNS[..2], &[], Some(80)), "ID  TEXT");
    }
}
