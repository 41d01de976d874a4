//! Progress of a long command on standard error: a bar on a terminal, otherwise a plain line every few seconds.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Shortest time between two plain lines.
const LINES_APART: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressLine {
    Bar,
    Lines,
    Hidden,
}

/// A part of a command with a known number of steps. Without [`ImportStage::finish`] the bar stays unfinished.
pub struct ImportStage {
    progress: ProgressLine,
    title: &'static str,
    bar: ProgressBar,
    shown_at: Instant,
}

impl ProgressLine {
    pub fn on_stderr() -> Self {
        if std::io::stderr().is_terminal() { Self::Bar } else { Self::Lines }
    }

    pub fn begin(self, title: &'static str, total: u64) -> ImportStage {
        let target = match self {
            Self::Bar => ProgressDrawTarget::stderr(),
            Self::Lines | Self::Hidden => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(total), target).with_style(style()).with_message(title);
        ImportStage { progress: self, title, bar, shown_at: Instant::now() }
    }

    /// Prints a sentence between two parts.
    pub fn say(self, sentence: &str) {
        if self != Self::Hidden {
            write_line(sentence);
        }
    }
}

impl ImportStage {
    pub fn advance(&mut self, steps: u64) {
        self.bar.inc(steps);
        if self.progress == ProgressLine::Lines && self.shown_at.elapsed() >= LINES_APART {
            self.shown_at = Instant::now();
            let left = indicatif::HumanDuration(self.bar.eta());
            write_line(&format!("{}: {} of {}, about {left} left", self.title, self.bar.position(), self.total()));
        }
    }

    /// Ends the part and prints the final count.
    pub fn finish(self) {
        self.bar.finish();
        if self.progress == ProgressLine::Lines {
            write_line(&format!("{}: {} of {}", self.title, self.bar.position(), self.total()));
        }
    }

    fn total(&self) -> u64 {
        self.bar.length().unwrap_or_default()
    }
}

/// A closed standard error is no reason to end a command.
fn write_line(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn style() -> ProgressStyle {
    const TEMPLATE: &str = "{msg:24} {wide_bar} {human_pos} of {human_len}, {per_sec}, {eta} left";
    // A template error would be a bug. The default style shows the same numbers.
    ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar())
}
