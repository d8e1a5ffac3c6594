//! Text for a terminal or a file: tables that fit, colours that nothing depends on.

use std::io::{self, IsTerminal};

/// Columns that a table may take.
const WIDTH: usize = 80;
/// Between two columns.
const GAP: usize = 2;

/// Whether colours are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    On,
    Off,
}

/// What a text is shown as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Bad,
    Odd,
    Head,
    Plain,
}

impl Colour {
    /// For terminals, and those who did not decline them (no-color.org).
    pub(crate) fn of_stdout() -> Self {
        let declined = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if io::stdout().is_terminal() && !declined { Self::On } else { Self::Off }
    }

    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Bad => "31;1",
            Tone::Odd => "33",
            Tone::Head => "1",
            Tone::Plain => return text.to_owned(),
        };
        match self {
            Self::On => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::Off => text.to_owned(),
        }
    }
}

/// A cell, and how it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

pub(crate) fn cell(text: impl Into<String>) -> Cell {
    Cell { text: text.into(), tone: Tone::Plain }
}

pub(crate) fn toned(tone: Tone, text: impl Into<String>) -> Cell {
    Cell { text: text.into(), tone }
}

/// A table with a heading. The last column takes what is left of the width; what is too long there goes on below, in all
/// others it is cut.
pub(crate) fn table(head: &[&str], rows: &[Vec<Cell>], colour: Colour) -> String {
    let mut widths: Vec<usize> = head.iter().map(|word| width(word)).collect();
    for row in rows {
        for (place, cell) in row.iter().enumerate() {
            widths[place] = widths[place].max(width(&cell.text));
        }
    }
    let last = widths.len() - 1;
    // The widest gives way first; the last one keeps a quarter of the line if it needs it.
    let room = WIDTH - GAP * last;
    let kept = widths[last].min(WIDTH / 4);
    while widths[..last].iter().sum::<usize>() + kept > room {
        match (0..last).max_by_key(|&place| widths[place]) {
            Some(widest) if widths[widest] > 8 => widths[widest] -= 1,
            _ => break,
        }
    }
    widths[last] = room.saturating_sub(widths[..last].iter().sum()).max(kept);
    let head: Vec<_> = head.iter().map(|word| toned(Tone::Head, *word)).collect();
    let rows = std::iter::once(&head).chain(rows);
    rows.map(|row| lines(row, &widths, colour)).collect()
}

fn lines(row: &[Cell], widths: &[usize], colour: Colour) -> String {
    let mut text = String::new();
    let last = row.len() - 1;
    for (cell, &width) in row[..last].iter().zip(widths) {
        let shown = cut(&cell.text, width);
        let fill = width - self::width(&shown) + GAP;
        text += &colour.paint(cell.tone, &shown);
        text += &" ".repeat(fill);
    }
    let indent = widths[..last].iter().map(|width| width + GAP).sum();
    for (place, part) in wrap(&row[last].text, widths[last]).iter().enumerate() {
        if place > 0 {
            text += &format!("\n{}", " ".repeat(indent));
        }
        text += &colour.paint(row[last].tone, part);
    }
    format!("{}\n", text.trim_end())
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// The text, or as much of it as there is room for.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if self::width(text) <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// Lines of at most so many characters, broken between words where that is possible.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always one");
        if line.is_empty() {
            *line = word.to_owned();
        } else if self::width(line) + 1 + self::width(word) <= width {
            *line += &format!(" {word}");
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// `1,234,567`
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_fits_the_width_and_says_the_same_without_colours() {
        let rows = [
            vec![
                cell("gw-1"),
                toned(Tone::Good, "up"),
                cell("a word that is said here ".repeat(5).trim_end()),
            ],
            vec![cell("x".repeat(63)), toned(Tone::Bad, "down"), cell("")],
        ];
        let text = table(&["INSTANCE", "HEALTH", "NOTE"], &rows, Colour::Off);
        assert!(text.lines().all(|line| width(line) <= WIDTH), "{text}");
        assert!(text.lines().next().unwrap().starts_with("INSTANCE  "), "{text}");
        assert!(text.contains('…'), "{text}");
        assert_eq!(text.matches("said").count(), 5, "{text}");
        let coloured = table(&["INSTANCE", "HEALTH", "NOTE"], &rows, Colour::On);
        assert!(coloured.contains("\x1b[31;1mdown\x1b[0m"));
        let codes = ["\x1b[0m", "\x1b[1m", "\x1b[32m", "\x1b[31;1m"];
        let plain = codes.iter().fold(coloured, |text, code| text.replace(code, ""));
        assert_eq!(plain, text);
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
