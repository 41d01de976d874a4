//! Named points where a test kills or freezes the program.
//!
//! `COUPONRUSH_CRASH_AT=NAME:N` aborts the process at the Nth passing of the point NAME. A kill is as abrupt as a power
//! cut: no destructor runs and no buffer is flushed. `COUPONRUSH_STOP_AT=NAME:N` freezes the process until SIGCONT.
//! Without the feature `crash-points` a point has no effect. Tests enable the feature, releases never do.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The armed points and the number of passings left. The variables are read once, because a process dies once.
static CRASH: LazyLock<Option<Armed>> = LazyLock::new(|| Armed::parse(&std::env::var("COUPONRUSH_CRASH_AT").ok()?));
static STOP: LazyLock<Option<Armed>> = LazyLock::new(|| Armed::parse(&std::env::var("COUPONRUSH_STOP_AT").ok()?));

struct Armed {
    name: String,
    left: AtomicU64,
}

/// Passes the point `name`. Has no effect unless a test has armed the point.
#[inline]
pub fn point(name: &str) {
    if !cfg!(feature = "crash-points") {
        return;
    }
    if CRASH.as_ref().is_some_and(|armed| armed.is_last(name)) {
        log::error!("crash: aborting at {name} by COUPONRUSH_CRASH_AT");
        std::process::abort();
    }
    if STOP.as_ref().is_some_and(|armed| armed.is_last(name)) {
        log::error!("crash: freezing at {name} by COUPONRUSH_STOP_AT");
        let stop = format!("kill -STOP {}", std::process::id());
        let _ = std::process::Command::new("sh").args(["-c", &stop]).status();
        // The kernel stops a process only when the signalled thread is scheduled. Until then all threads keep running.
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// The largest batch of the ledger: `max`, or one claim in a process that will crash outside of a rebuild and of archiving.
/// The crash then leaves outbox entries with some claims stored and some not. A crash in a rebuild comes late, archiving
/// waits for all claims, and a slow ledger would fall behind until then.
pub fn batch_max(max: usize) -> usize {
    if !cfg!(feature = "crash-points") {
        return max;
    }
    let is_late = |name: &str| name.starts_with("rebuild-") || name.starts_with("archive-");
    if CRASH.as_ref().is_some_and(|armed| !is_late(&armed.name)) { 1 } else { max }
}

impl Armed {
    fn parse(text: &str) -> Option<Self> {
        let (name, left) = text.split_once(':')?;
        Some(Self { name: name.to_owned(), left: AtomicU64::new(left.parse().ok()?) })
    }

    /// Counts a passing of the armed point, and returns `true` for the last.
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
