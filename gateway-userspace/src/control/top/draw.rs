//! The screen: which columns and lines there is room for, and how they look.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::Line,
    widgets::{Paragraph, Row, Table},
};

use super::{
    samples::Samples,
    view::{Entry, View, short},
};
use crate::{
    control::screen::{Colour, Tone, cut},
    status::State,
};

/// Between two columns.
const GAP: usize = 1;

/// What follows an entry's name and state, in the order on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Packets,
    Bits,
    Syns,
    /// Living flows, or all packets.
    Number,
    Plot,
}

/// A table.
#[derive(Debug)]
struct Listed {
    /// Above names, states and the last number.
    head: [&'static str; 3],
    entries: Vec<Entry>,
}

impl Column {
    const ALL: [Self; 5] = [Self::Packets, Self::Bits, Self::Syns, Self::Number, Self::Plot];
    /// Where there is little room, the last ones of these are not shown.
    const BY_USE: [Self; 5] = [Self::Packets, Self::Number, Self::Bits, Self::Syns, Self::Plot];

    fn width(self) -> usize {
        match self {
            Self::Packets => 9,
            Self::Syns => 6,
            Self::Bits | Self::Number => 7,
            Self::Plot => 12,
        }
    }

    fn head(self, number: &'static str) -> &'static str {
        match self {
            Self::Packets => "PACKETS/s",
            Self::Bits => "BITS/s",
            Self::Syns => "SYNs/s",
            Self::Number => number,
            Self::Plot => "LAST LOOKS",
        }
    }

    fn of(self, entry: &Entry) -> String {
        match self {
            Self::Packets => short(entry.rate.packets),
            Self::Bits => short(entry.rate.bits),
            Self::Syns => short(entry.rate.syns),
            Self::Number => entry.number.map_or_else(String::new, |number| short(number as f64)),
            Self::Plot => entry.plot.clone(),
        }
    }

    /// Numbers, and looks the newest of which is the last, end at the column's right.
    fn line<'l>(text: impl Into<Line<'l>>) -> Line<'l> {
        text.into().right_aligned()
    }
}

impl Listed {
    fn widest<'l>(head: &'l str, texts: impl Iterator<Item = &'l String>) -> usize {
        texts.map(String::as_str).chain([head]).map(|text| text.chars().count()).max().unwrap_or_default()
    }

    fn states(&self) -> usize {
        Self::widest(self.head[1], self.entries.iter().map(|entry| &entry.state))
    }

    fn names(&self) -> usize {
        Self::widest(self.head[0], self.entries.iter().map(|entry| &entry.name))
    }

    /// For names and states in full.
    fn wanted(&self) -> usize {
        self.names() + GAP + self.states()
    }

    /// The heading, and a line each.
    fn lines(&self) -> usize {
        self.entries.len() + 1
    }
}

/// The whole screen.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View, samples: &Samples, colour: Colour) {
    let lists = [
        Listed { head: ["SERVICE", "STATE", ""], entries: view.services(samples) },
        Listed { head: ["INSTANCE", "HEALTH", "FLOWS"], entries: view.instances(samples) },
        Listed { head: ["DROPPED FOR", "REASON", "PACKETS"], entries: view.drops(samples) },
    ];
    let outer = Layout::vertical([Constraint::Length(2), Constraint::Fill(1), Constraint::Length(1)]);
    let [top, middle, bottom] = outer.areas(frame.area());
    let most = |width: fn(&Listed) -> usize| lists.iter().map(width).max().unwrap_or_default();
    let columns = columns(middle.width.into(), most(Listed::wanted));
    // States stand below each other, too, if there is room for that.
    let names = most(Listed::names);
    let fits = names + GAP + most(Listed::states) + taken(&columns) <= middle.width.into();
    let names = fits.then_some(names);
    let heights = heights(middle.height, [&lists[0], &lists[1], &lists[2]].map(Listed::lines));
    let areas: [Rect; 3] = Layout::vertical(heights.map(Constraint::Length)).areas(middle);
    frame.render_widget(Paragraph::new(headline(samples, top.width, colour)), top);
    for (area, list) in areas.into_iter().zip(&lists) {
        draw_list(frame, area, list, names, &columns, colour);
    }
    frame.render_widget(Line::from(view.footer()), bottom);
}

/// The same for all tables, so that numbers stand below each other. Names in full are worth more than any but the first.
fn columns(width: usize, wanted: usize) -> Vec<Column> {
    let mut taken = wanted;
    let shown = Column::BY_USE.into_iter().take_while(|&column| {
        taken += GAP + column.width();
        taken <= width || column == Column::BY_USE[0]
    });
    let shown: Vec<_> = shown.collect();
    Column::ALL.into_iter().filter(|column| shown.contains(column)).collect()
}

/// Characters of all of them, with the gap before each.
fn taken(columns: &[Column]) -> usize {
    columns.iter().map(|column| GAP + column.width()).sum()
}

/// Lines for each table: one more for each in turn, for as long as there are some; then a blank one at the end of each.
fn heights(room: u16, lines: [usize; 3]) -> [u16; 3] {
    let (mut heights, mut room) = ([0; 3], room);
    for blank in [0, 1] {
        let wants = |heights: &[u16; 3], place: usize| usize::from(heights[place]) < lines[place] + blank;
        while let Some(place) =
            (0..3).filter(|&place| wants(&heights, place)).min_by_key(|&place| heights[place])
            && room > 0
        {
            heights[place] += 1;
            room -= 1;
        }
    }
    heights
}

fn headline<'l>(samples: &Samples, width: u16, colour: Colour) -> Vec<Line<'l>> {
    let Some(status) = samples.status() else { return Vec::new() };
    let tone = match status.state {
        State::Serving => Tone::Good,
        State::Starting => Tone::Odd,
        State::Degraded | State::NotServing => Tone::Bad,
    };
    let rate = samples.forwarded();
    let (packets, dropped) = (short(rate.packets), short(samples.dropped()));
    let all = format!(
        "{packets} packets/s, {} bits/s, {} SYNs/s; {dropped} dropped/s",
        short(rate.bits),
        short(rate.syns)
    );
    let fits = all.len() <= usize::from(width);
    vec![
        Line::styled(
            format!("{}  {}, generation {}", status.service, status.state.as_str(), status.generation),
            style(tone, colour),
        ),
        Line::from(if fits { all } else { format!("{packets} packets/s; {dropped} dropped/s") }),
    ]
}

/// A table with a heading and as many lines as fit; the last of them says how many more there are.
fn draw_list(
    frame: &mut Frame<'_>,
    area: Rect,
    list: &Listed,
    names: Option<usize>,
    columns: &[Column],
    colour: Colour,
) {
    let [name, state, number] = list.head;
    let left = usize::from(area.width).saturating_sub(taken(columns) + GAP);
    let names = names.unwrap_or(left.saturating_sub(list.states()));
    let states = left.saturating_sub(names);
    let head = columns.iter().map(|column| Column::line(column.head(number)));
    let head = Row::new([Line::from(name), Line::from(state)].into_iter().chain(head));
    let row = |entry: &Entry| {
        let name = Line::from(cut(&entry.name, names));
        let state = Line::styled(entry.state.clone(), style(entry.tone, colour));
        Row::new([name, state].into_iter().chain(columns.iter().map(|column| Column::line(column.of(entry)))))
    };
    let room = usize::from(area.height);
    let shown = if list.lines() <= room { list.entries.len() } else { room.saturating_sub(2) };
    let (shown, rest) = list.entries.split_at(shown);
    let more = (!rest.is_empty()).then(|| Row::new([format!("… {} more", rest.len())]));
    let widths = [names, states].into_iter().chain(columns.iter().map(|column| column.width()));
    let widths = widths.map(|width| Constraint::Length(u16::try_from(width).unwrap_or(u16::MAX)));
    let table = Table::new(shown.iter().map(row).chain(more), widths).column_spacing(GAP as u16);
    frame.render_widget(table.header(head.style(style(Tone::Head, colour))), area);
}

fn style(tone: Tone, colour: Colour) -> Style {
    let style = match tone {
        Tone::Head => return Style::new().add_modifier(Modifier::BOLD),
        Tone::Plain => Style::new(),
        Tone::Good => Style::new().fg(Color::Green),
        Tone::Bad => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
        Tone::Odd => Style::new().fg(Color::Yellow),
    };
    if colour == Colour::On { style } else { Style::new() }
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};

    use super::{
        super::{testing::samples, view::Sort},
        *,
    };

    fn screen(width: u16, height: u16, colour: Colour) -> Terminal<TestBackend> {
        let view = View::new(Sort::Name, String::new());
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, &view, &samples(), colour)).unwrap();
        terminal
    }

    #[test]
    fn the_screen_has_services_instances_drops_and_keys() {
        let text = screen(80, 24, Colour::On).backend().to_string();
        for part in [
            "contoso  degraded, generation 7",
            "7.2k packets/s, 4.3M bits/s, 0 SYNs/s; 3 dropped/s",
            "10.0.0.5:443",
            "203.0.113.5:3443",
            "not ready",
            "gw-4",
            "drains",
            "vlan-depth",
            "1.2k",
            "LAST LOOKS",
            "█",
            "q quit   s by name   / filter",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }

    #[test]
    fn a_small_screen_has_of_each_table_what_matters_most_and_says_what_is_missing() {
        let text = screen(40, 12, Colour::Off).backend().to_string();
        for part in [
            "7.2k packets/s; 3 dropped/s",
            "SERVICE",
            "PACKETS/s",
            "INSTANCE",
            "gw-1",
            "… 3 more",
            "DROPPED FOR",
            "q quit",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        for (width, height) in [(1, 1), (20, 3), (200, 60)] {
            screen(width, height, Colour::Off);
        }
    }

    #[test]
    fn names_are_worth_more_than_all_numbers_but_the_first() {
        use Column::*;
        for (width, expected) in [
            (0, vec![Packets]),
            (40, vec![Packets]),
            (48, vec![Packets, Number]),
            (56, vec![Packets, Bits, Number]),
            (75, vec![Packets, Bits, Syns, Number]),
            (76, vec![Packets, Bits, Syns, Number, Plot]),
        ] {
            assert_eq!(columns(width, 30), expected, "{width}");
        }
    }

    #[test]
    fn lines_are_shared_in_turn() {
        assert_eq!(heights(21, [3, 5, 2]), [4, 6, 3]);
        assert_eq!(heights(9, [9, 3, 2]), [4, 3, 2]);
        assert_eq!(heights(12, [5, 3, 2]), [5, 4, 3]);
        assert_eq!(heights(2, [9, 5, 1]), [1, 1, 0]);
    }

    #[test]
    fn r90_no_colour_where_it_is_declined_and_each_state_is_a_word() {
        let coloured = |colour| {
            screen(80, 24, colour).backend().buffer().content().iter().any(|cell| cell.fg != Color::Reset)
        };
        assert!(coloured(Colour::On));
        assert!(!coloured(Colour::Off));
    }
}
