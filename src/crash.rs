//! Named points at which a test lets the program die, as a power cut would: no destructor runs, nothing is flushed. Or stand
//! still, until somebody sends it SIGCONT.
//!
//! They exist under the feature `crash-points` only, which tests turn on and no release has; without it a point is nothing.
//! With it, `COUPONRUSH_CRASH_AT=NAME:N` ends the process when it passes the point NAME for the Nth time, and
//! `COUPONRUSH_STOP_AT=NAME:N` stops it there.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The points that are armed, and how many passings are left. Read once: a process dies once.
static CRASH: LazyLock<Option<Armed>> = LazyLock::new(|| Armed::parse(&std::env::var("COUPONRUSH_CRASH_AT").ok()?));
static STOP: LazyLock<Option<Armed>> = LazyLock::new(|| Armed::parse(&std::env::var("COUPONRUSH_STOP_AT").ok()?));

struct Armed {
    name: String,
    left: AtomicU64,
}

/// Passes the point `name`: nothing, unless a test has armed it.
#[inline]
pub fn point(name: &str) {
    if !cfg!(feature = "crash-points") {
        return;
    }
    if CRASH.as_ref().is_some_and(|armed| armed.is_last(name)) {
        log::error!("crash: dies at {name}, as a test wants it");
        std::process::abort();
    }
    if STOP.as_ref().is_some_and(|armed| armed.is_last(name)) {
        log::error!("crash: stops at {name}, as a test wants it");
        let stop = format!("kill -STOP {}", std::process::id());
        let _ = std::process::Command::new("sh").args(["-c", &stop]).status();
        // The kernel stops a process when it next runs the thread that it chose for the signal; until then others go on.
        std::thread::sleep(Duration::from_secs(1));
    }
}

impl Armed {
    fn parse(text: &str) -> Option<Self> {
        let (name, left) = text.split_once(':')?;
        Some(Self { name: name.to_owned(), left: AtomicU64::new(left.parse().ok()?) })
    }

    /// Whether this passing is the one to die at.
    fn is_last(&self, name: &str) -> bool {
        name == self.name && self.left.fetch_sub(1, Ordering::SeqCst) == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_nth_passing_of_the_armed_point_is_the_last() {
        let armed = Armed::parse("after-script:3").expect("a name and a number");
        let passings = ["after-script", "before-insert", "after-script", "after-script", "after-script"];
        assert_eq!(passings.map(|name| armed.is_last(name)), [false, false, false, true, false]);
        assert!(Armed::parse("after-script").is_none());
        assert!(Armed::parse("after-script:x").is_none());
    }
}
