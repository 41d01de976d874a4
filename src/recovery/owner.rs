//! Whether the data in Redis belongs to this installation.
//!
//! The key `owner` holds the id of the installation. The script that takes `live` compares the key once more. A Redis
//! without an owner is taken if the row of the shard names it, or if it is empty. Before its first use of the shard, a
//! process also watches for processes of a copied database. `docs/decisions/0015-the-watch-before-the-first-opening.md`
//! says which starts need no watch.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::right::{OwnerState, Right, WatchState};
use super::watch::{Watch, WatchVerdict};
use super::{REBUILD, Recovery, RecoveryError, WAIT};
use crate::claim::ClosedReason;
use crate::mysql::instances;
use crate::mysql::shards::ShardRow;
use crate::redis::live_key::{self, LiveAndOwner};
use crate::redis::{Connection, KvError, beats};

/// How long an installation that was not loaded here before waits for beats of others, before it takes an empty prefix.
const EMPTY_FOR: Duration = Duration::from_secs(10);
/// A Redis process that has run for less may lack the beats of living processes. They connect within a second, and may
/// have waited for Redis.
const YOUNG: Duration = Duration::from_secs(10);

impl Recovery {
    /// Whether this process may use what `seen` shows. `row` was read after `seen`.
    pub(super) async fn right(
        &self,
        connection: &Connection,
        row: &ShardRow,
        seen: &LiveAndOwner,
    ) -> Result<Right, RecoveryError> {
        let mut state = self.owner.lock().await;
        let ownership = &self.identity.ownership;
        let right = match &seen.owner {
            Some(owner) if owner == ownership.installation() => {
                if row.run_id == connection.run_id() && seen.live == last_live(row) {
                    connection.peer().clone_into(&mut state.used_at);
                }
                Right::Granted
            }
            Some(owner) => Right::Foreign(ownership.owned_by(owner)),
            None => self.right_without_owner(&mut state, connection, row, seen).await?,
        };
        if seen.owner.is_some() {
            state.empty_since = None;
        }
        // The watch goes on meanwhile, so a start that waits for another reason does not wait for longer.
        let watched = match right {
            Right::Foreign(_) => return Ok(right),
            Right::Granted | Right::Pending => self.watch(&mut state.watch, connection, seen).await?,
        };
        Ok(match watched {
            WatchVerdict::OtherDatabase(process) => Right::Foreign(ownership.copied(&process)),
            WatchVerdict::Pending => Right::Pending,
            WatchVerdict::Passed => right,
        })
    }

    /// Looks at the beats once, until the watch has passed.
    async fn watch(
        &self,
        state: &mut WatchState,
        connection: &Connection,
        seen: &LiveAndOwner,
    ) -> Result<WatchVerdict, RecoveryError> {
        let watch = match state {
            WatchState::Passed => return Ok(WatchVerdict::Passed),
            WatchState::Watching(watch) => watch,
            WatchState::NotBegun => {
                *state = WatchState::Watching(Watch::new(Instant::now()));
                let WatchState::Watching(watch) = state else { return Ok(WatchVerdict::Pending) };
                watch
            }
        };
        let installation = self.identity.ownership.installation();
        let mut beats = beats::all(connection, self.keys(), WAIT).await?;
        beats.retain(|process, beat| *process != self.identity.process.id && beat.installation == installation);
        // Redis is read first, because a process beats in MySQL first.
        let numbers = instances::beat_numbers(&self.db, self.identity.shard).await?;
        // Whoever becomes the owner after a loss has beaten before.
        let may_lack_beats = seen.owner.is_none() || connection.uptime() < YOUNG;
        let watched = watch.compare(&beats, &numbers, may_lack_beats, Instant::now());
        if watched == WatchVerdict::Passed {
            *state = WatchState::Passed;
        }
        Ok(watched)
    }

    async fn right_without_owner(
        &self,
        state: &mut OwnerState,
        connection: &Connection,
        row: &ShardRow,
        seen: &LiveAndOwner,
    ) -> Result<Right, RecoveryError> {
        let ownership = &self.identity.ownership;
        if !row.run_id.is_empty() && (row.run_id == connection.run_id() || seen.live == last_live(row)) {
            return Ok(Right::Granted);
        }
        if let Some(token) = seen.live.strip_prefix(REBUILD) {
            // An old program rebuilds. Its row follows, and so does the loading.
            return Ok(if token == row.token { Right::Granted } else { Right::Pending });
        }
        if !seen.live.is_empty() {
            return Ok(Right::Foreign(ownership.unowned()));
        }
        let is_here =
            !row.run_id.is_empty() && [&row.redis_address, &state.used_at].iter().any(|at| *at == connection.peer());
        let since = state.empty_since.as_ref().filter(|(run_id, _)| run_id == connection.run_id());
        let waited = since.map(|(_, since)| since.elapsed());
        if is_here || waited.is_none_or(|waited| waited >= EMPTY_FOR) {
            let content = live_key::prefix_content(connection, self.keys(), WAIT).await?;
            if live_key::read_with_owner(connection, self.keys(), WAIT).await? != *seen {
                return Ok(Right::Pending);
            }
            if content.has_data {
                return Ok(Right::Foreign(ownership.unowned()));
            }
            if is_here {
                return Ok(Right::Granted);
            }
            if self.any_unknown(connection, &content.beating).await? {
                state.empty_since = None;
                return Ok(Right::Pending);
            }
        }
        let all = beats::all(connection, self.keys(), WAIT).await?;
        if let Some(other) = all.values().find(|beat| beat.installation != ownership.installation()) {
            return Ok(Right::Foreign(ownership.awaited_by(&other.installation)));
        }
        if waited.is_none() {
            log::info!("recovery: Redis is empty, waiting {} s for beats of other installations", EMPTY_FOR.as_secs());
            state.empty_since = Some((connection.run_id().to_owned(), Instant::now()));
        }
        Ok(if waited.is_some_and(|waited| waited >= EMPTY_FOR) { Right::Granted } else { Right::Pending })
    }

    /// Whether a process that does not number its beats is not of this database.
    async fn any_unknown(&self, connection: &Connection, beating: &[String]) -> Result<bool, RecoveryError> {
        let numbered = beats::all(connection, self.keys(), WAIT).await?;
        let known: HashMap<String, u64> = instances::beat_numbers(&self.db, self.identity.shard).await?;
        let is_unknown = |process: &String| !numbered.contains_key(process) && !known.contains_key(process);
        Ok(beating.iter().any(is_unknown))
    }

    /// Closes the gate because Redis belongs to somebody else. Nothing is read, swept, rebuilt or deleted there.
    pub(super) fn close_for_foreign(&self, sentence: &str) {
        // Set first, because the start ends as soon as the gate has this reason.
        self.identity.ownership.refuse(sentence);
        let is_known = self.gate.live().err() == Some(ClosedReason::Foreign);
        self.close(ClosedReason::Foreign);
        if !is_known {
            log::error!("recovery: ALARM: {sentence}");
        }
    }

    /// Makes this installation the owner of a loaded Redis that an old program has loaded.
    pub(super) async fn own(&self, connection: &Connection, seen: &LiveAndOwner) -> Result<bool, KvError> {
        if seen.owner.is_some() {
            return Ok(true);
        }
        let installation = self.identity.ownership.installation();
        live_key::take_owner(connection, self.keys(), &seen.live, installation, WAIT).await
    }
}

/// The value of `live` for the last loading in the row.
fn last_live(row: &ShardRow) -> String {
    format!("{}:{}", row.run_id, row.epoch)
}
