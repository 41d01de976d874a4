//! Counts answers by status.

use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::http::StatusCode;

use crate::base::Apart;

const STATUSES: std::ops::Range<u16> = 100..600;

pub struct Answers(Apart<[AtomicU64; (STATUSES.end - STATUSES.start) as usize]>);

impl Default for Answers {
    fn default() -> Self {
        Self(Apart::new(|| std::array::from_fn(|_| AtomicU64::new(0))))
    }
}

impl Answers {
    pub fn note(&self, status: StatusCode) {
        if let Some(count) = self.0.mine().get(usize::from(status.as_u16().saturating_sub(STATUSES.start))) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Pairs of status and number of answers, without zeros.
    pub fn given(&self) -> impl Iterator<Item = (u16, u64)> {
        let counts = (0..STATUSES.len()).map(|place| self.0.sum(|counts| &counts[place]));
        STATUSES.zip(counts).filter(|(_, count)| *count > 0)
    }
}
