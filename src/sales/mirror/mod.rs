//! Keeps activities, limits and switches in MySQL and etcd in sync.
//!
//! MySQL is authoritative. Operators read and edit in etcd. The column `etcd_revision` of a row names the etcd write
//! that carries the row's current content.
//! - A key with a later write is an edit by an operator. A valid edit is stored in MySQL.
//! - A deleted key disables its activity.
//! - A row with `etcd_revision` 0 has a change that etcd lacks. The row is put to etcd.
//!
//! Every instance does all of this. Two comparisons let exactly one instance succeed: of the row's revision under the
//! coupon's lock, and of the key's revision in etcd.
//!
//! Only a valid edit by an operator can stop or open a sale. An invalid value changes nothing. An etcd restored to an
//! older state gets the missing keys. While etcd is away, sales go on.
//!
//! [`Mirroring::run`] loops over two steps, [`Mirroring::take`] and [`Mirroring::repair`]. Tests also call the steps.

mod compare;
mod edit;
mod held;
mod repair;
mod settings;
mod state;
mod value;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::base::{Outage, now_seconds};
use crate::domain::{ActivityId, CouponId};
use crate::etcd::{Etcd, Listing, Notice, Watcher};
use crate::memory::Settings;
use crate::mysql::mirrored::{self, Mirrored};
use crate::mysql::{Db, DbError};
use crate::sales::{Adopted, Scheduling};
use compare::{Verdict, judge};
use edit::MirrorError;
use settings::SettingsMirror;

pub use edit::Edit;
pub use state::{MirrorReport, MirrorState};

/// Period of repairs: missing keys are put, and failed work is retried.
const REPAIR_EVERY: Duration = Duration::from_secs(1);
/// How long MySQL may take to store an edit. After a timeout, the edit is put in force in memory.
const EDIT_WAIT: Duration = Duration::from_secs(1);
/// The same while edits fail, so that a slow MySQL gets enough time.
const EDIT_AGAIN_WAIT: Duration = Duration::from_secs(15);
/// Rows per page.
const PAGE: i64 = 1_000;
/// Seconds after its end for which an activity should be in etcd. Until then, deleting its key disables the activity.
const KEPT_SECONDS: u64 = 86_400;

pub struct Mirroring {
    etcd: Etcd,
    scheduling: Scheduling,
    settings: SettingsMirror,
    state: Arc<MirrorState>,
    /// Maximum activities in etcd, waiting edits, and remembered invalid keys.
    activities_max: usize,
    /// A listing not compared with MySQL yet.
    listing: Option<Listing>,
    /// Edits that MySQL may not have yet.
    edits: BTreeMap<ActivityId, Edit>,
    /// The `etcd_revision` of each row at the last read, for use while MySQL is away.
    noted: HashMap<ActivityId, u64>,
    /// Coupons with activities in force in memory before MySQL has stored the edit.
    held: BTreeSet<CouponId>,
    /// Keys with an invalid value, and the revision at which the error was logged.
    bad: BTreeMap<String, u64>,
    /// The highest revision seen of etcd.
    seen: u64,
    /// Logs when synchronization begins to fail and when it works again.
    outage: Outage,
}

struct Comparison {
    verdict: Verdict,
    /// The revision of the listing.
    revision: u64,
    rows: Vec<Mirrored>,
}

impl Mirroring {
    pub fn new(
        etcd: Etcd,
        scheduling: Scheduling,
        settings: Arc<Settings>,
        state: Arc<MirrorState>,
        activities_max: usize,
    ) -> Self {
        let db = scheduling.publishing.db.clone();
        let settings = SettingsMirror::new(db, etcd.clone(), settings, Arc::clone(&state));
        Self {
            settings,
            etcd,
            scheduling,
            state,
            activities_max,
            listing: None,
            edits: BTreeMap::new(),
            noted: HashMap::new(),
            held: BTreeSet::new(),
            bad: BTreeMap::new(),
            seen: 0,
            outage: Outage::new("etcd: synchronizing with MySQL"),
        }
    }

    /// Synchronizes until `stop`. Work interrupted by the stop is rolled back, or found complete at the next start.
    pub async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(self.follow()).await;
    }

    async fn follow(&mut self) {
        let mut watcher = Watcher::new(self.etcd.clone(), Arc::clone(&self.state.etcd));
        let mut ticks = tokio::time::interval(REPAIR_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // The future is kept across ticks: reading many keys may take longer than a period.
            let notice = watcher.next();
            tokio::pin!(notice);
            let notice = loop {
                tokio::select! {
                    notice = &mut notice => break notice,
                    _ = ticks.tick() => self.repair(now_seconds()).await,
                }
            };
            self.take(notice, now_seconds()).await;
        }
    }

    /// Takes a notice of the watcher and processes all edits as far as possible. `now` is in seconds since 1970.
    pub async fn take(&mut self, notice: Notice, now: u64) {
        self.settings.note(&notice);
        match notice {
            Notice::Listing(listing) => {
                // The listing includes all earlier changes.
                self.edits.clear();
                self.bad.retain(|key, _| listing.entries.contains_key(key));
                for (key, entry) in &listing.entries {
                    if let Some(Err(error)) = value::id(key) {
                        self.refuse(key, entry.revision, &error);
                    }
                }
                self.listing = Some(listing);
            }
            Notice::Changes(changes) => {
                for change in changes {
                    self.seen = self.seen.max(change.revision);
                    match value::id(&change.key) {
                        Some(Ok(id)) => {
                            self.edits.insert(id, Edit { revision: change.revision, value: change.value });
                        }
                        Some(Err(error)) => self.refuse(&change.key, change.revision, &error),
                        None => {}
                    }
                }
                // More edits than activities allowed in etcd. The next listing has the current values.
                if self.edits.len() > self.activities_max {
                    self.edits.clear();
                }
            }
        }
        let settled = self.settle(now).await;
        self.outage.note(settled);
    }

    /// Processes the remaining edits and puts missing keys to etcd. `now` is in seconds since 1970.
    pub async fn repair(&mut self, now: u64) {
        let mut outcome = self.settle(now).await;
        if self.state.etcd.is_up() && self.listing.is_none() {
            outcome = outcome.and(self.put_what_lacks(now).await);
            outcome = outcome.and(self.settings.repair().await);
        }
        self.outage.note(outcome);
    }

    /// Settings first: they are few and must not wait for many activities.
    async fn settle(&mut self, now: u64) -> Result<(), MirrorError> {
        let settings = self.settings.settle().await;
        let settled = self.try_to_settle(now).await;
        if matches!(settled, Err(MirrorError::Db(_) | MirrorError::TimedOut | MirrorError::Edit(_))) {
            self.hold_in_memory();
        }
        self.state.set_waiting(self.edits.len() + usize::from(self.listing.is_some()), self.bad.len());
        settled.and(settings)
    }

    async fn try_to_settle(&mut self, now: u64) -> Result<(), MirrorError> {
        if let Some(listing) = &self.listing {
            let verdict = self.compare(listing, now).await?;
            self.conclude(verdict).await?;
            self.listing = None;
        }
        while let Some((id, edit)) = self.edits.first_key_value() {
            let (id, edit) = (*id, edit.clone());
            // A timeout drops the transaction. It is rolled back, or was committed and is found so by the next attempt.
            let wait = if self.outage.is_on() { EDIT_AGAIN_WAIT } else { EDIT_WAIT };
            let applied = tokio::time::timeout(wait, self.apply(id, &edit, now)).await;
            match applied.unwrap_or(Err(MirrorError::TimedOut)) {
                Ok(()) => {}
                Err(error) if error.is_refusal() => self.refuse(&value::key(id), edit.revision, &error),
                Err(error) => return Err(error),
            }
            self.edits.remove(&id);
        }
        while let Some(coupon) = self.held.first().copied() {
            self.scheduling.activities.reload(&self.scheduling.publishing.db, coupon).await?;
            self.held.remove(&coupon);
        }
        Ok(())
    }

    /// Compares a listing with the rows of MySQL. If etcd seems to have gone back, a second listing is read after the
    /// rows: another instance may have put and noted a key after the first listing.
    async fn compare(&self, listing: &Listing, now: u64) -> Result<Comparison, MirrorError> {
        let rows = rows(&self.scheduling.publishing.db, now.saturating_sub(KEPT_SECONDS), self.activities_max).await?;
        let verdict = judge(listing, &rows, self.seen);
        if matches!(verdict, Verdict::Edits(_)) {
            return Ok(Comparison { verdict, revision: listing.revision, rows });
        }
        let later = self.etcd.list().await?;
        Ok(Comparison { verdict: judge(&later, &rows, self.seen), revision: later.revision, rows })
    }

    async fn conclude(&mut self, Comparison { verdict, revision, rows }: Comparison) -> Result<(), MirrorError> {
        self.noted = rows.into_iter().map(|row| (row.id, row.etcd_revision)).collect();
        match verdict {
            Verdict::Edits(edits) => {
                self.seen = self.seen.max(revision);
                // Edits that arrived since the listing are newer.
                for (id, edit) in edits {
                    self.edits.entry(id).or_insert(edit);
                }
            }
            Verdict::WentBack(lost) => {
                log::warn!("etcd: went back to revision {revision}; putting {} lost activities again", lost.len());
                for (id, etcd_revision) in lost {
                    mirrored::forget(&self.scheduling.publishing.db, id, etcd_revision).await?;
                    self.noted.remove(&id);
                }
                self.seen = revision;
                self.state.count_went_back();
            }
        }
        Ok(())
    }

    /// Stores an edit in MySQL, unless MySQL has this edit or a later change.
    async fn apply(&mut self, id: ActivityId, edit: &Edit, now: u64) -> Result<(), MirrorError> {
        let ended_before = now.saturating_sub(KEPT_SECONDS);
        let adopted = match &edit.value {
            Some(value) => {
                let activity = value::read(id, value)?;
                self.scheduling.adopt(&activity, edit.revision, ended_before).await?
            }
            None => self.scheduling.disable(id, edit.revision, ended_before).await?,
        };
        self.bad.remove(&value::key(id));
        let etcd_revision = match adopted {
            Adopted::Now => {
                log::info!("etcd: edit of activity {id} at revision {} is stored in MySQL", edit.revision);
                self.state.count_adopted();
                edit.revision
            }
            Adopted::Before(etcd_revision) => etcd_revision,
        };
        if etcd_revision > 0 {
            self.noted.insert(id, etcd_revision);
        } else {
            self.noted.remove(&id);
        }
        Ok(())
    }

    /// Logs an invalid key or value, once per revision.
    fn refuse(&mut self, key: &str, revision: u64, error: &dyn std::error::Error) {
        if self.bad.get(key) == Some(&revision) {
            return;
        }
        self.state.count_refused();
        log::warn!("etcd: {key} at revision {revision} is not followed: {}", crate::base::error_chain(error));
        if self.bad.len() < self.activities_max {
            self.bad.insert(key.to_owned(), revision);
        }
    }
}

/// All rows that etcd has or should have. Stops after about `count_max` rows.
async fn rows(db: &Db, ended_after: u64, count_max: usize) -> Result<Vec<Mirrored>, DbError> {
    let mut rows: Vec<Mirrored> = Vec::new();
    loop {
        let after = rows.last().map_or(ActivityId(0), |row| row.id);
        let page = mirrored::page(db, ended_after, after, PAGE).await?;
        if page.is_empty() || rows.len() > count_max {
            return Ok(rows);
        }
        rows.extend(page);
    }
}
