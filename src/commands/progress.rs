//! How far a long command has come, on standard error: a bar on a terminal, else a plain line every few seconds.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How long plain lines are apart at least.
const LINES_APART: Duration = Duration::from_secs(5);

/// Where progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Bar,
    Lines,
    Hidden,
}

/// One part of a command that counts up to a known total. Dropping it before [`Stage::finish`] leaves the bar as it is.
pub struct Stage {
    progress: Progress,
    title: &'static str,
    bar: ProgressBar,
    shown_at: Instant,
}

impl Progress {
    /// A bar where standard error is a terminal, plain lines where it is not.
    pub fn on_stderr() -> Self {
        if std::io::stderr().is_terminal() { Self::Bar } else { Self::Lines }
    }

    /// Begins a part of `total` steps.
    pub fn begin(self, title: &'static str, total: u64) -> Stage {
        let target = match self {
            Self::Bar => ProgressDrawTarget::stderr(),
            Self::Lines | Self::Hidden => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(total), target).with_style(style()).with_message(title);
        Stage { progress: self, title, bar, shown_at: Instant::now() }
    }

    /// Shows a sentence between two parts.
    pub fn say(self, sentence: &str) {
        match self {
            Self::Bar | Self::Lines => write_line(sentence),
            Self::Hidden => {}
        }
    }
}

impl Stage {
    /// Counts `steps` more.
    pub fn advance(&mut self, steps: u64) {
        self.bar.inc(steps);
        if self.progress == Progress::Lines && self.shown_at.elapsed() >= LINES_APART {
            self.shown_at = Instant::now();
            let left = indicatif::HumanDuration(self.bar.eta());
            write_line(&format!("{}: {} of {}, about {left} left", self.title, self.bar.position(), self.total()));
        }
    }

    /// Ends the part with what was counted.
    pub fn finish(self) {
        self.bar.finish();
        if self.progress == Progress::Lines {
            write_line(&format!("{}: {} of {}", self.title, self.bar.position(), self.total()));
        }
    }

    fn total(&self) -> u64 {
        self.bar.length().unwrap_or_default()
    }
}

/// That nobody reads is no reason to end a command.
fn write_line(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn style() -> ProgressStyle {
    const TEMPLATE: &str = "{msg:24} {wide_bar} {human_pos} of {human_len}, {per_sec}, {eta} left";
    // A template that does not parse would be our own fault; the default shows the same numbers.
    ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar())
}
