//! The loop of a periodic background task.

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Runs `step` at once, then every `period`, until `stop`.
///
/// A step longer than `period` delays the next step. Steps never overlap, and missed steps are not made up for. `stop`
/// ends the loop even during a step. The step is dropped at its next `await`.
pub async fn every<F: Future<Output = ()>>(period: Duration, stop: &CancellationToken, step: impl Fn() -> F) {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let repeating = async {
        loop {
            ticks.tick().await;
            step().await;
        }
    };
    // `repeating` never completes, so this call returns when `stop` is cancelled.
    stop.run_until_cancelled(repeating).await;
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn steps_are_repeated_until_the_stop_which_ends_one_that_waits() {
        let (steps, stop) = (Cell::new(0), CancellationToken::new());
        every(Duration::from_millis(1), &stop, || async {
            steps.set(steps.get() + 1);
            if steps.get() == 3 {
                stop.cancel();
                std::future::pending::<()>().await;
            }
        })
        .await;
        assert_eq!(steps.get(), 3);
    }
}
