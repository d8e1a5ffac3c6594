//! Whatever is in the file, checking it and showing what was found does not panic.

use annotate_snippets::Renderer;
use proptest::prelude::*;

use super::{EXAMPLE, check};

/// Pieces of which mistakes are made: TOML's own signs, values of other types, characters of several bytes.
const PIECES: &[&str] = &[
    "",
    "\"",
    "'",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    ",",
    ".",
    "#",
    "\n",
    "\r\n",
    "\t",
    "\0",
    "\u{7f}",
    "\u{feff}",
    "ä",
    "語",
    "🦀",
    "\\",
    "\\u12",
    "\"\"\"",
    "'''",
    "0x",
    "1e9",
    "-1",
    "9999999999999999999999",
    "inf",
    "true",
    "[1, 2]",
    "1979-05-27",
    "*.",
    "10.0.0.0/8",
    "::",
    "name = 1",
    "[service]",
    "[a.b]",
    "service.name = \"x\"",
    "[[service]]",
    "[instance]",
];

/// From a place to a later one, each as a share of the text, this piece instead.
fn mistake() -> impl Strategy<Value = (f64, usize, &'static str)> {
    (0.0..1.0, 0_usize..40, prop::sample::select(PIECES))
}

fn make(text: &mut String, (place, length, piece): (f64, usize, &str)) {
    let boundary = |text: &str, mut at: usize| {
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "any place will do"
    )]
    let start = boundary(text, (place * text.len() as f64) as usize);
    let end = boundary(text, (start + length).min(text.len()));
    text.replace_range(start..end, piece);
}

fn show(text: &str) {
    let (model, report) = check(text);
    assert_eq!(
        model.is_none(),
        report.of(crate::config::Severity::Fault).next().is_some(),
        "no model without a fault"
    );
    for fault in report.all() {
        let (line, column) = report.position(fault).unwrap();
        assert!(line <= text.matches('\n').count() + 1 && column <= text.len() + 1, "{}", report.line(fault));
    }
    let _ =
        (report.render(&Renderer::plain()), report.render(&Renderer::styled()), report.json().to_string());
}

proptest! {
    #[test]
    fn the_example_with_mistakes(mistakes in prop::collection::vec(mistake(), 1..6)) {
        let mut text = EXAMPLE.to_owned();
        mistakes.into_iter().for_each(|one| make(&mut text, one));
        show(&text);
    }

    #[test]
    fn any_text(text in "\\PC{0,200}") {
        show(&text);
    }

    #[test]
    fn pieces_alone(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..20)) {
        show(&pieces.concat());
    }
}
