//! What is being done, shown live: a spinner with the last line of output on a terminal, plain lines off it.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// One piece of work on show. [`Step::done`] or [`Step::gave_up`] ends it; dropped before, it was interrupted by an error
/// that speaks for itself.
#[derive(Debug)]
pub(crate) struct Step {
    title: String,
    began: Instant,
    spinner: Option<ProgressBar>,
}

impl Step {
    /// Shows that work begins.
    pub(crate) fn begin(title: impl Into<String>) -> Self {
        let title = title.into();
        let spinner = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {prefix} [{elapsed}] {wide_msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            let bar = ProgressBar::new_spinner().with_style(style).with_prefix(title.clone());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if spinner.is_none() {
            eprintln!("{title} ...");
        }
        Self { title, began: Instant::now(), spinner }
    }

    /// Shows a line of the work's own output, on a terminal only.
    pub(crate) fn output(&self, line: &str) {
        if let Some(bar) = &self.spinner {
            bar.set_message(line.trim().to_owned());
        }
    }

    /// The work is done.
    pub(crate) fn done(self) {
        self.end("done");
    }

    /// The work could not be done, and something else will be tried: one line, with the reason.
    pub(crate) fn gave_up(self, reason: &str) {
        self.end(&format!("not possible: {reason}"));
    }

    fn end(self, how: &str) {
        if let Some(bar) = &self.spinner {
            bar.finish_and_clear();
        }
        eprintln!("{}: {how} ({})", self.title, seconds(self.began.elapsed()));
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = &self.spinner {
            bar.finish_and_clear();
        }
    }
}

/// A duration for people: `0.3 s`, `2 min 42 s`.
pub(crate) fn seconds(duration: Duration) -> String {
    let whole = duration.as_secs();
    if whole >= 60 {
        return format!("{} min {} s", whole / 60, whole % 60);
    }
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_say_them() {
        assert_eq!(seconds(Duration::from_millis(312)), "0.3 s");
        assert_eq!(seconds(Duration::from_secs(162)), "2 min 42 s");
    }
}
