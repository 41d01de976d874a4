//! Opening and closing the gate.

use super::Recovery;
use crate::claim::ClosedReason;
use crate::domain::Format;
use crate::mysql::{DbError, new_ids};
use crate::redis::{Connection, Live, WriteRefusal};

impl Recovery {
    /// Lets the ledger and the pool work with the data of `live` at `connection`, and opens the gate unless Redis refuses
    /// writes.
    pub(super) fn sell(&self, connection: &Connection, live: Live, format: Format, refusal: Option<WriteRefusal>) {
        self.redis.pool.follow(&live.run_id, connection.named());
        self.ledger.trust(Some(live.clone()), format);
        match refusal {
            None => self.open(live),
            refusal => self.close_for(refusal),
        }
    }

    fn open(&self, live: Live) {
        if self.gate.live().is_ok_and(|open| *open == live) {
            return;
        }
        log::info!("recovery: selling under epoch {} in Redis process {}", live.epoch, live.run_id);
        self.gate.open(live);
    }

    /// Closes the gate because Redis is another process or has other data. Outbox entries stay until the next loading.
    pub(super) fn close(&self, reason: ClosedReason) {
        if self.gate.live().is_ok() {
            log::warn!("recovery: Redis is not the one we knew; selling stops until it is loaded");
        }
        self.stop_selling(reason);
    }

    /// Closes the gate without a line in the log. Outbox entries stay until the next loading.
    pub(super) fn stop_selling(&self, reason: ClosedReason) {
        self.gate.close(reason);
        self.ledger.trust(None, Format::PREVIOUS);
    }

    /// Closes the gate because Redis refuses writes, if it does. The data is still right, so the ledger keeps storing
    /// claims and deleting entries, which may free the memory that Redis lacks.
    pub(super) fn close_for(&self, refusal: Option<WriteRefusal>) {
        let Some(refusal) = refusal else { return };
        if refusal == WriteRefusal::Moving {
            return self.close_for_move();
        }
        let reason = ClosedReason::Refusing(refusal);
        if self.gate.live().err() != Some(reason) {
            log::error!(
                "recovery: ALARM: Redis refuses writes ({}); selling stops until it takes them",
                refusal.word()
            );
        }
        self.gate.close(reason);
    }

    /// Closes the gate because MySQL has lost commits. Nothing is rebuilt, swept or deleted, because Redis may be the only
    /// place that has the claims.
    pub(super) async fn close_for_mysql(&self) -> Result<(), DbError> {
        let is_known = self.gate.live().err() == Some(ClosedReason::MysqlWentBack);
        self.close(ClosedReason::MysqlWentBack);
        if is_known {
            return Ok(());
        }
        log::error!(
            "recovery: ALARM: MySQL lacks commits that Redis knows; selling stops until `couponrush audit --repair` has \
             written the claims back"
        );
        // Users who register before the repair must not get ids of lost users. The repair moves the ids on once more.
        new_ids::move_on(&self.db, "MySQL lacks commits that Redis knows").await
    }
}
