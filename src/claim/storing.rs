//! Stores a batch of the ledger in parts, so that a claim that MySQL refuses does not stop the others.
//!
//! A part that MySQL refuses because of its data, or that times out, is halved. A claim that is refused alone is poisoned.
//! After any other error the part is retried, because the claims are not to blame.

use std::sync::atomic::Ordering;

use super::persister::{Abandoned, Persister};
use crate::domain::{Claim, EntryId, Epoch};
use crate::mysql::claims::{self, BatchParts, StoreOutcome};
use crate::mysql::{DbError, within};

/// The result of storing a part of a batch.
enum PartOutcome {
    /// Every claim is stored or poisoned.
    Settled,
    /// The claims cannot be stored before the shard is live.
    Late,
    /// MySQL refuses the part, or did not answer in time. Store it in halves.
    Halve,
}

impl Persister {
    /// Stores or poisons every claim. Returns `false` for late claims, which cannot be stored before the shard is live.
    pub(super) async fn store(&mut self, epoch: Epoch, claims: &[Claim]) -> Result<bool, Abandoned> {
        let mut parts = BatchParts::of(claims);
        while let Some(part) = parts.take() {
            match self.store_part(epoch, part).await? {
                PartOutcome::Settled => {}
                // Parts that are stored already are known at the repetition.
                PartOutcome::Late => return Ok(false),
                PartOutcome::Halve => parts.halve(part),
            }
        }
        Ok(true)
    }

    /// Retries the transaction until it is committed or refused.
    async fn store_part(&mut self, epoch: Epoch, claims: &[Claim]) -> Result<PartOutcome, Abandoned> {
        let mut pause = self.settings.pauses.0;
        let abandon = self.abandon.clone();
        loop {
            let attempt = abandon.run_until_cancelled(self.try_store(epoch, claims)).await.ok_or(Abandoned)?;
            match attempt {
                Ok(StoreOutcome::Done(outcome)) => {
                    self.state.waiters.tell_stored(claims, &outcome.poisoned);
                    self.state.stored.fetch_add(outcome.inserted as u64, Ordering::Relaxed);
                    self.state.count_poisoned(outcome.poisoned.len());
                    if !outcome.poisoned.is_empty() {
                        self.state.contradicted.fetch_max(epoch.0, Ordering::SeqCst);
                    }
                    for claim in &outcome.poisoned {
                        log::error!(
                            "ledger: ALARM: claim {} poisoned, see poisoned_claims for the reason: {claim:?}",
                            claim.entry
                        );
                    }
                    self.outage.end();
                    return Ok(PartOutcome::Settled);
                }
                Ok(StoreOutcome::Late) => {
                    self.outage.end();
                    return Ok(PartOutcome::Late);
                }
                Ok(StoreOutcome::Unfenced(refusal)) => self.outage.begin(&refusal),
                Ok(StoreOutcome::Refused(reason)) => match claims {
                    [claim] => {
                        log::error!("ledger: ALARM: claim {} poisoned, {reason}: {claim:?}", claim.entry);
                        self.state.waiters.tell_not_stored(claims);
                        self.poison(claim.entry, &claim.to_text(), &reason).await?;
                        return Ok(PartOutcome::Settled);
                    }
                    _ => return Ok(PartOutcome::Halve),
                },
                Err(error) => {
                    self.connection = None;
                    self.state.failures.fetch_add(1, Ordering::Relaxed);
                    self.outage.begin(&error);
                    if matches!(error, DbError::TimedOut { .. }) && claims.len() > 1 {
                        return Ok(PartOutcome::Halve);
                    }
                }
            }
            let jittered = tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0)));
            abandon.run_until_cancelled(jittered).await.ok_or(Abandoned)?;
            pause = (pause * 2).min(self.settings.pauses.1);
        }
    }

    /// Stores a claim or an entry in `poisoned_claims`, so later ones do not wait.
    pub(super) async fn poison(&mut self, entry: EntryId, text: &str, reason: &str) -> Result<(), Abandoned> {
        let mut pause = self.settings.pauses.0;
        loop {
            let wait = self.settings.store_wait;
            let result = match self.connect().await {
                Ok(connection) => within("poison", wait, claims::poison(connection, entry, text, reason)).await,
                Err(error) => Err(error),
            };
            let Err(error) = result else {
                self.state.count_poisoned(1);
                self.outage.end();
                return Ok(());
            };
            self.outage.begin(&error);
            self.connection = None;
            self.abandon.run_until_cancelled(tokio::time::sleep(pause)).await.ok_or(Abandoned)?;
            pause = (pause * 2).min(self.settings.pauses.1);
        }
    }
}
