//! Counts and durations of attempts by result.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::outcome::ClaimOutcome;
use crate::base::{Apart, Histogram};
use crate::domain::Refusal;

/// Results of an attempt, in the words of the header `Claim-Result` and of error codes.
const RESULTS: [&str; 14] = [
    "claimed",
    "already-claimed",
    "sold-out",
    "no-such-coupon",
    "not-on-sale",
    "not-started",
    "ended",
    "try-again",
    "overloaded",
    "unavailable",
    "unknown-outcome",
    "not-eligible",
    "ticket-required",
    "network-limit",
];

pub struct ClaimFigures {
    results: Apart<[AtomicU64; RESULTS.len()]>,
    /// Duration of an attempt, from its start to the outcome.
    pub took: Histogram,
    /// Duration of each call to Redis within an attempt.
    pub asked: Histogram,
}

impl Default for ClaimFigures {
    fn default() -> Self {
        Self { results: Apart::new(Default::default), took: Histogram::of_times(), asked: Histogram::of_times() }
    }
}

impl ClaimFigures {
    pub fn note(&self, outcome: &ClaimOutcome, took: Duration) {
        self.results.mine()[place(outcome)].fetch_add(1, Ordering::Relaxed);
        self.took.note_time(took);
    }

    /// Pairs of result and number of attempts.
    pub fn results(&self) -> impl Iterator<Item = (&'static str, u64)> {
        RESULTS.into_iter().enumerate().map(|(place, word)| (word, self.results.sum(|counts| &counts[place])))
    }
}

/// Index of an outcome in [`RESULTS`].
const fn place(outcome: &ClaimOutcome) -> usize {
    match outcome {
        ClaimOutcome::Claimed(_) => 0,
        ClaimOutcome::Already(_) => 1,
        ClaimOutcome::Refused(Refusal::SoldOut) => 2,
        ClaimOutcome::Refused(Refusal::NoSuchCoupon) => 3,
        ClaimOutcome::Refused(Refusal::NotOnSale | Refusal::Disabled) => 4,
        ClaimOutcome::Refused(Refusal::NotStarted) => 5,
        ClaimOutcome::Refused(Refusal::Ended) => 6,
        ClaimOutcome::Refused(Refusal::TryAgain) => 7,
        ClaimOutcome::Overloaded => 8,
        ClaimOutcome::Unavailable => 9,
        ClaimOutcome::Unknown => 10,
        ClaimOutcome::Refused(Refusal::NotEligible) => 11,
        ClaimOutcome::Refused(Refusal::TicketRequired) => 12,
        ClaimOutcome::Refused(Refusal::NetworkLimit) => 13,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_is_counted_under_its_own_word() {
        let refusals = [
            (Refusal::SoldOut, "sold-out"),
            (Refusal::NoSuchCoupon, "no-such-coupon"),
            (Refusal::NotOnSale, "not-on-sale"),
            (Refusal::Disabled, "not-on-sale"),
            (Refusal::NotStarted, "not-started"),
            (Refusal::Ended, "ended"),
            (Refusal::TryAgain, "try-again"),
            (Refusal::NotEligible, "not-eligible"),
            (Refusal::TicketRequired, "ticket-required"),
            (Refusal::NetworkLimit, "network-limit"),
        ];
        let others = [
            (ClaimOutcome::Overloaded, "overloaded"),
            (ClaimOutcome::Unavailable, "unavailable"),
            (ClaimOutcome::Unknown, "unknown-outcome"),
        ];
        for (outcome, word) in
            refusals.map(|(refusal, word)| (ClaimOutcome::Refused(refusal), word)).into_iter().chain(others)
        {
            let figures = ClaimFigures::default();
            figures.note(&outcome, Duration::from_millis(1));
            let counted: Vec<_> = figures.results().filter(|(_, count)| *count > 0).collect();
            assert_eq!(counted, [(word, 1)]);
            assert_eq!(figures.took.distribution().count, 1);
        }
    }
}
