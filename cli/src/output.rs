//! Standard output and error: text, JSON, colours, progress.

use crate::failure::{Failure, Kind};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Writes text to standard output. A reader that went away ends the command quietly.
///
/// # Errors
/// When it cannot be written.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|e| {
        let kind = if e.kind() == ErrorKind::BrokenPipe { Kind::BrokenPipe } else { Kind::Failed };
        Failure { kind, ..Failure::failed(format!("standard output: {e}")) }
    })
}

/// Writes one JSON object on a line.
///
/// # Errors
/// When it cannot be written.
pub fn print_json(value: &serde_json::Value) -> Result<(), Failure> {
    print(&format!("{value}\n"))
}

/// Colours, where a terminal shows them and `NO_COLOR` is not set.
#[derive(Clone, Copy, Debug)]
pub struct Paint(bool);

impl Paint {
    /// For standard output.
    pub fn stdout() -> Self {
        Self(wanted(std::io::stdout().is_terminal()))
    }
    /// For standard error.
    pub fn stderr() -> Self {
        Self(wanted(std::io::stderr().is_terminal()))
    }
    /// Whether there are colours.
    pub fn on(self) -> bool {
        self.0
    }
    /// Never.
    pub fn plain() -> Self {
        Self(false)
    }
    fn code(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }
    /// Bold.
    pub fn bold(self, text: &str) -> String {
        self.code("1", text)
    }
    /// Grey.
    pub fn dim(self, text: &str) -> String {
        self.code("2", text)
    }
    /// Red and bold.
    pub fn red(self, text: &str) -> String {
        self.code("1;31", text)
    }
    /// Green.
    pub fn green(self, text: &str) -> String {
        self.code("32", text)
    }
}

fn wanted(terminal: bool) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    terminal && !refused && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
}

/// How long something may take before its progress is shown.
const PATIENCE: Duration = Duration::from_secs(1);

/// Progress of something that may take long: shown on standard error, on a terminal, after a second.
pub struct Progress {
    bar: ProgressBar,
    /// Dropping it ends the thread that waits for the second.
    _waiting: Sender<()>,
}

impl Progress {
    /// Of a known number of steps.
    pub fn steps(total: u64, what: &str) -> Self {
        let style = ProgressStyle::with_template("{msg} [{wide_bar}] {human_pos}/{human_len} {eta}");
        Self::new(ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden()), style.ok(), what)
    }
    /// Of a number of bytes.
    pub fn bytes(total: Option<u64>, what: &str) -> Self {
        let style = ProgressStyle::with_template("{msg} [{wide_bar}] {bytes}/{total_bytes} {eta}");
        Self::new(ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden()), style.ok(), what)
    }
    /// Of something whose end is not known.
    pub fn unknown(what: &str) -> Self {
        let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
        Self::new(ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()), style.ok(), what)
    }
    fn new(bar: ProgressBar, style: Option<ProgressStyle>, what: &str) -> Self {
        if let Some(style) = style {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(what.to_string());
        let (waiting, done) = channel();
        let shown = bar.clone();
        std::thread::spawn(move || {
            if done.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                shown.set_draw_target(ProgressDrawTarget::stderr());
                shown.enable_steady_tick(Duration::from_millis(200));
            }
        });
        Self { bar, _waiting: waiting }
    }
    /// `n` more are done.
    pub fn add(&self, n: u64) {
        self.bar.inc(n);
    }
    /// Something else is being done.
    pub fn say(&self, what: &str) {
        self.bar.set_message(what.to_string());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A number of bytes for people: `1.5 MB`.
pub fn bytes(n: u64) -> String {
    scaled(n as f64, &["B", "KB", "MB", "GB", "TB"])
}

/// A count for people: `1.5 M`.
pub fn count(n: u64) -> String {
    scaled(n as f64, &["", "K", "M", "G", "T"])
}

fn scaled(mut x: f64, units: &[&str]) -> String {
    let mut unit = 0;
    while x >= 999.5 && unit + 1 < units.len() {
        x /= 1000.0;
        unit += 1;
    }
    let number = if unit == 0 || x >= 99.95 { format!("{x:.0}") } else { format!("{x:.1}") };
    format!("{number} {}", units[unit]).trim_end().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people_have_three_digits() {
        for (n, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 KB"),
            (99_940, "99.9 KB"),
            (999_600, "1.0 MB"),
            (1 << 30, "1.1 GB"),
        ] {
            assert_eq!(bytes(n), text);
        }
        assert_eq!(count(12), "12");
        assert_eq!(count(568_740_352), "569 M");
    }

    #[test]
    fn plain_text_has_no_codes() {
        assert_eq!(Paint::plain().red("x"), "x");
        assert_eq!(Paint(true).bold("x"), "\x1b[1mx\x1b[0m");
    }
}
