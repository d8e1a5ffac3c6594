//! A small plot of a rate over the last minutes: SVG in the page, and the same in words.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::text::scaled;
use crate::api::page::history::{PACE, STEPS};

const WIDTH: f64 = 240.0;
const HEIGHT: f64 = 48.0;

/// What a rate was, the latest last.
pub(super) fn plot(what: &str, rates: &[f64]) -> Markup {
    let most = rates.iter().copied().fold(0.0, f64::max);
    let now = rates.last().copied().unwrap_or(0.0);
    let seconds = rates.len() as u64 * PACE.as_secs();
    let words = format!("{what}: {} a second now, {} at most in {seconds} s", scaled(now), scaled(most));
    let (line, area) = paths(rates, most);
    html! {
        svg.plot viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) preserveAspectRatio="none" role="img" aria-label=(words) {
            path.floor d=(format!("M0 {HEIGHT}H{WIDTH}")) {}
            @if !rates.is_empty() {
                path.area d=(area) {}
                path.line d=(line) {}
            }
        }
    }
}

/// The line, and what lies below it. New values come in at the right.
fn paths(rates: &[f64], most: f64) -> (String, String) {
    let step = WIDTH / (STEPS - 1) as f64;
    let first = WIDTH - step * rates.len().saturating_sub(1) as f64;
    let mut line = String::new();
    for (at, rate) in rates.iter().enumerate() {
        let share = if most > 0.0 { rate / most } else { 0.0 };
        let (x, y) = (first + step * at as f64, HEIGHT - 2.0 - share * (HEIGHT - 4.0));
        // A string takes everything.
        let _ = write!(line, "{}{x:.1} {y:.1}", if at == 0 { 'M' } else { 'L' });
    }
    let area = format!("{line}V{HEIGHT}H{first:.1}Z");
    (line, area)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_is_at_the_right_and_the_most_at_the_top() {
        let (line, _) = paths(&[0.0, 50.0, 100.0], 100.0);
        assert_eq!(line, "M231.9 46.0L235.9 24.0L240.0 2.0");
        let (line, _) = paths(&vec![1.0; STEPS], 1.0);
        assert!(line.starts_with("M0.0 2.0"), "{line}");
    }

    #[test]
    fn r90_it_says_in_words_what_it_shows() {
        let text = plot("Packets", &[10.0, 2_000.0, 5.0]).0;
        assert!(text.contains("Packets: 5 a second now, 2 k at most in 15 s"), "{text}");
        assert!(!plot("Packets", &[]).0.contains("class=\"line\""));
    }
}
