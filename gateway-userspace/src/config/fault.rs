//! What was found in a file: [`Fault`]s at their places, and a [`Report`] of them for people and for programs.

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

use annotate_snippets::{
    AnnotationKind, Group, Level, Origin, Renderer, Snippet, normalize_untrusted_str as normalize,
};

use super::code::{Code, Severity};

/// Bytes of the file's text.
pub(super) type Span = Range<usize>;

/// What is wrong, wherever it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    code: Code,
    message: String,
    label: String,
    help: Option<String>,
}

impl Problem {
    /// `message` is a whole sentence without its full stop.
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), label: String::new(), help: None }
    }

    /// What stands beside the caret: what was expected.
    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// What to do.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Puts it at its place.
    pub(super) fn at(self, span: Span) -> Fault {
        Fault { problem: self, span: Some(span), also: None }
    }

    /// Wrong with the file as a whole, which has no text to show.
    pub(super) fn without_place(self) -> Fault {
        Fault { problem: self, span: None, also: None }
    }
}

/// Something wrong at a place of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    problem: Problem,
    span: Option<Span>,
    also: Option<(Span, String)>,
}

impl Fault {
    /// A second place that belongs to it.
    pub fn also(mut self, span: Span, label: impl Into<String>) -> Self {
        self.also = Some((span, label.into()));
        self
    }

    /// Its stable code.
    pub fn code(&self) -> Code {
        self.problem.code
    }

    /// Its place in the text.
    pub fn span(&self) -> Option<&Span> {
        self.span.as_ref()
    }

    /// What is wrong, in a sentence.
    pub fn message(&self) -> &str {
        &self.problem.message
    }

    /// What to do about it.
    pub fn help(&self) -> Option<&str> {
        self.problem.help.as_deref()
    }
}

/// The text that was checked and whence it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// As the operator named it.
    pub path: PathBuf,
    /// The whole file.
    pub text: String,
}

/// All that was found in one file, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    source: Source,
    faults: Vec<Fault>,
}

impl Report {
    /// Sorts what was found by its place.
    pub fn new(source: Source, mut faults: Vec<Fault>) -> Self {
        faults.sort_by_key(|f| (f.span.as_ref().map(|s| (s.start, s.end)), f.code()));
        Self { source, faults }
    }

    /// The file's path, as the operator named it.
    pub fn path(&self) -> &Path {
        &self.source.path
    }

    /// Adds what was found later.
    pub fn extend(self, more: Vec<Fault>) -> Self {
        let Self { source, mut faults } = self;
        faults.extend(more);
        Self::new(source, faults)
    }

    /// Faults and warnings, by their place.
    pub fn all(&self) -> impl Iterator<Item = &Fault> {
        self.faults.iter()
    }

    /// Those of one severity, by their place.
    pub fn of(&self, severity: Severity) -> impl Iterator<Item = &Fault> {
        self.faults.iter().filter(move |f| f.code().severity() == severity)
    }

    /// Line and column of a fault, both from 1; the column counts characters. None where the fault has no place.
    pub fn position(&self, fault: &Fault) -> Option<(usize, usize)> {
        let start = floor(&self.source.text, fault.span.as_ref()?.start);
        let before = &self.source.text[..start];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Some((before.matches('\n').count() + 1, before[line_start..].chars().count() + 1))
    }

    /// For people: each finding with a caret under its place, as rustc shows them, and their number.
    pub fn render(&self, renderer: &Renderer) -> String {
        let mut out = String::new();
        for fault in &self.faults {
            out += &renderer.render(&[self.group(fault)]);
            out += "\n\n";
        }
        let faults = self.of(Severity::Fault).count();
        let warnings = self.of(Severity::Warning).count();
        let more = self.faults.first().map(|first| format!("; `gateway help {}` says more", first.code()));
        out += &format!(
            "{}: {}, {}{}\n",
            self.path().display(),
            count(faults, "fault"),
            count(warnings, "warning"),
            more.unwrap_or_default()
        );
        out
    }

    fn group<'a>(&'a self, fault: &'a Fault) -> Group<'a> {
        let Problem { code, message, label, help } = &fault.problem;
        let level = match code.severity() {
            Severity::Fault => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let path = self.path().to_string_lossy();
        let title = level.primary_title(message).id(code.to_string());
        let group = match &fault.span {
            None => title.element(Origin::path(path)),
            Some(span) => {
                let text = &self.source.text;
                let mut primary = AnnotationKind::Primary.span(whole_characters(text, span));
                if !label.is_empty() {
                    primary = primary.label(label.as_str());
                }
                let mut snippet = Snippet::source(text.as_str()).path(path).annotation(primary);
                if let Some((span, label)) = &fault.also {
                    let span = whole_characters(text, span);
                    snippet = snippet.annotation(AnnotationKind::Context.span(span).label(label.as_str()));
                }
                title.element(snippet)
            }
        };
        match help {
            Some(help) => group.element(Level::HELP.message(normalize(help))),
            None => group,
        }
    }

    /// One finding in one line, for the log.
    pub fn line(&self, fault: &Fault) -> String {
        let place =
            self.position(fault).map_or_else(String::new, |(line, column)| format!(":{line}:{column}"));
        let help = fault.help().map_or_else(String::new, |help| format!("; {help}"));
        normalize(&format!("{}{place}: {} {}{help}", self.path().display(), fault.code(), fault.message()))
    }
}

/// How [`Faults`] are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rendering {
    /// Text without colour.
    Plain,
    /// Text with a terminal's colours.
    Styled,
    /// Not at all: they have been given out already, as JSON.
    Done,
}

/// Everything that is wrong with a file, each with code, place, caret and remedy.
#[derive(Debug)]
pub struct Faults {
    /// Faults, at least one, and warnings.
    pub report: Report,
    /// How `Display` shows them.
    pub rendering: Rendering,
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match renderer(self.rendering) {
            Some(renderer) => f.write_str(&self.report.render(&renderer)),
            None => Ok(()),
        }
    }
}

/// None where nothing is to be shown.
pub(super) fn renderer(rendering: Rendering) -> Option<Renderer> {
    match rendering {
        Rendering::Plain => Some(Renderer::plain()),
        Rendering::Styled => Some(Renderer::styled()),
        Rendering::Done => None,
    }
}

impl std::error::Error for Faults {}

/// `1 fault`, `2 faults`
pub(super) fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// The nearest start of a character at or before `at`: the parser may point into one.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn whole_characters(text: &str, span: &Span) -> Span {
    let start = floor(text, span.start);
    start..floor(text, span.end).max(start)
}
