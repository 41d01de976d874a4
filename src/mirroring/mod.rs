//! Activities, limits and switches in MySQL and in etcd, kept alike.
//!
//! MySQL decides; etcd is where operators look, and change things. The column `etcd_revision` of a row says which etcd write
//! carries it as it stands. A key with a later write is an operator's edit, and is taken over into MySQL if it is valid; a
//! key that was deleted disables its activity; a row without such a revision has a change that etcd lacks, and is put.
//! Every instance does all of this, and the comparisons (of the row's revision under the coupon's lock, of the key's in
//! etcd) let one of them succeed.
//!
//! Nothing that etcd says or fails to say stops a sale or opens a closed one, but a valid put: bad values change nothing, an
//! etcd that was restored to an older state is given what it lacks, and one that is away is done without.
//!
//! [`Mirroring::run`] is the loop around two steps, [`Mirroring::take`] and [`Mirroring::repair`], which tests can drive too.

mod compare;
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

use crate::db::mirrored::{self, Mirrored};
use crate::db::{Db, DbError};
use crate::domain::{ActivityId, CouponId};
use crate::etcd::{Etcd, EtcdError, Listing, Notice, Value, Watcher};
use crate::gate::Settings;
use crate::now_seconds;
use crate::scheduling::{Adopted, EditError, Scheduling};
use compare::{Verdict, judge};
use settings::SettingsMirror;
use value::ValueError;

pub use state::{MirrorReport, State};

/// How often what etcd lacks is looked for, and what is left is tried again.
const REPAIR_EVERY: Duration = Duration::from_secs(1);
/// How long MySQL may take for one edit before what the operator wants is put in force without it, and how long after that.
const EDIT_WAIT: Duration = Duration::from_secs(1);
const EDIT_AGAIN_WAIT: Duration = Duration::from_secs(15);
/// Rows that are read at once.
const PAGE: i64 = 1_000;
/// How long after its end, in seconds, etcd should still have an activity, and deleting its key still disables it.
const KEPT_SECONDS: u64 = 86_400;

/// What an operator did to an activity's key: a put or, where there is no value, a deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    pub revision: u64,
    pub value: Option<Value>,
}

/// Keeps both alike.
pub struct Mirroring {
    etcd: Etcd,
    scheduling: Scheduling,
    settings: SettingsMirror,
    state: Arc<State>,
    /// Activities that are in etcd at once, edits that wait, and keys that are remembered as bad.
    activities_max: usize,
    /// What could not be compared with MySQL yet.
    listing: Option<Listing>,
    /// What MySQL may not have yet.
    edits: BTreeMap<ActivityId, Edit>,
    /// `etcd_revision` of each row as last read: what is known while MySQL is away.
    noted: HashMap<ActivityId, u64>,
    /// Coupons whose activities hold in memory before MySQL has them.
    held: BTreeSet<CouponId>,
    /// Keys whose value is bad, and at which revision that was logged.
    bad: BTreeMap<String, u64>,
    /// The highest revision that etcd was at.
    seen: u64,
    failing: bool,
}

/// Why a step could not be completed; it is tried again.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Etcd(#[from] EtcdError),
    #[error("etcd has {0} keys, and more activities are not put")]
    Full(usize),
    #[error("MySQL did not take an edit in time")]
    TimedOut,
    #[error(transparent)]
    Value(#[from] ValueError),
    #[error(transparent)]
    Edit(#[from] EditError),
}

impl Failure {
    /// Whether an edit is at fault, which trying again does not mend.
    fn is_refusal(&self) -> bool {
        match self {
            Self::Value(_) => true,
            Self::Edit(error) => error.is_refusal(),
            Self::Db(_) | Self::Etcd(_) | Self::Full(_) | Self::TimedOut => false,
        }
    }
}

impl Mirroring {
    pub fn new(
        etcd: Etcd,
        (scheduling, settings): (Scheduling, Arc<Settings>),
        state: Arc<State>,
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
            failing: false,
        }
    }

    /// Keeps both alike until `stop`; what it is doing then is rolled back, or found done by the next start.
    pub async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            () = self.follow() => {}
            () = stop.cancelled() => {}
        }
    }

    async fn follow(&mut self) {
        let mut watcher = Watcher::new(self.etcd.clone(), Arc::clone(&self.state.etcd));
        let mut ticks = tokio::time::interval(REPAIR_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // Kept over the ticks: reading many keys may take longer than from one to the next.
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

    /// Takes in what the watcher has seen, and settles what can be settled.
    pub async fn take(&mut self, notice: Notice, now: u64) {
        self.settings.note(&notice);
        match notice {
            Notice::Listing(listing) => {
                // It has all that came before.
                self.edits.clear();
                self.bad.retain(|key, _| listing.entries.contains_key(key));
                self.note_bad_keys(listing.entries.iter().map(|(key, entry)| (key.as_str(), entry.revision)));
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
                // More than etcd should have at all: the next listing has what counts.
                if self.edits.len() > self.activities_max {
                    self.edits.clear();
                }
            }
        }
        let settled = self.settle(now).await;
        self.note_outcome(settled);
    }

    /// Settles what is left, and puts what etcd lacks.
    pub async fn repair(&mut self, now: u64) {
        let mut outcome = self.settle(now).await;
        if self.state.etcd.is_up() && self.listing.is_none() {
            outcome = outcome.and(self.put_what_lacks(now).await);
            outcome = outcome.and(self.settings.repair().await);
        }
        self.note_outcome(outcome);
    }

    /// Switches first: they are few, and must not wait for many activities.
    async fn settle(&mut self, now: u64) -> Result<(), Failure> {
        let settings = self.settings.settle().await;
        let settled = self.try_to_settle(now).await;
        if matches!(settled, Err(Failure::Db(_) | Failure::TimedOut | Failure::Edit(_))) {
            self.hold_in_memory();
        }
        self.state.set_waiting(self.edits.len() + usize::from(self.listing.is_some()), self.bad.len());
        settled.and(settings)
    }

    async fn try_to_settle(&mut self, now: u64) -> Result<(), Failure> {
        if let Some(listing) = &self.listing {
            let verdict = self.compare(listing, now).await?;
            self.conclude(verdict).await?;
            self.listing = None;
        }
        while let Some((id, edit)) = self.edits.first_key_value() {
            let (id, edit) = (*id, edit.clone());
            // What is dropped half-way is rolled back, or has been committed and is found so by the next attempt.
            let wait = if self.failing { EDIT_AGAIN_WAIT } else { EDIT_WAIT };
            let applied = tokio::time::timeout(wait, self.apply(id, &edit, now)).await;
            match applied.unwrap_or(Err(Failure::TimedOut)) {
                Ok(()) => {}
                Err(error) if error.is_refusal() => self.refuse(&value::key(id), edit.revision, &error),
                Err(error) => return Err(error),
            }
            self.edits.remove(&id);
        }
        while let Some(coupon) = self.held.first().copied() {
            self.scheduling.activities.reload(coupon).await?;
            self.held.remove(&coupon);
        }
        Ok(())
    }

    /// Compares a listing with the rows. Where it contradicts them, another one is asked for, which is begun after they were
    /// read: an instance may have put and noted what the first listing was too early for.
    async fn compare(&self, listing: &Listing, now: u64) -> Result<(Verdict, u64, Vec<Mirrored>), Failure> {
        let rows = rows(&self.scheduling.publishing.db, now.saturating_sub(KEPT_SECONDS), self.activities_max).await?;
        let verdict = judge(listing, &rows, self.seen);
        if matches!(verdict, Verdict::Edits(_)) {
            return Ok((verdict, listing.revision, rows));
        }
        let later = self.etcd.list().await?;
        Ok((judge(&later, &rows, self.seen), later.revision, rows))
    }

    async fn conclude(&mut self, (verdict, revision, rows): (Verdict, u64, Vec<Mirrored>)) -> Result<(), Failure> {
        self.noted = rows.into_iter().map(|row| (row.id, row.etcd_revision)).collect();
        match verdict {
            Verdict::Edits(edits) => {
                self.seen = self.seen.max(revision);
                // What has come since is later.
                for (id, edit) in edits {
                    self.edits.entry(id).or_insert(edit);
                }
            }
            Verdict::WentBack(lost) => {
                log::warn!(
                    "etcd: it has gone back to revision {revision}; it is given the {} activities it lacks",
                    lost.len()
                );
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

    /// Takes one edit over into MySQL, unless that has it or something later.
    async fn apply(&mut self, id: ActivityId, edit: &Edit, now: u64) -> Result<(), Failure> {
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
                log::info!("etcd: activity {id} is as an operator made it at revision {}", edit.revision);
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

    fn note_bad_keys<'a>(&mut self, keys: impl Iterator<Item = (&'a str, u64)>) {
        for (key, revision) in keys {
            if let Some(Err(error)) = value::id(key) {
                self.refuse(key, revision, &error);
            }
        }
    }

    /// Says once what is wrong with a key's value.
    fn refuse(&mut self, key: &str, revision: u64, error: &dyn std::error::Error) {
        if self.bad.get(key) == Some(&revision) {
            return;
        }
        self.state.count_refused();
        log::warn!("etcd: {key} at revision {revision} is not followed: {}", crate::error_chain(error));
        if self.bad.len() < self.activities_max {
            self.bad.insert(key.to_owned(), revision);
        }
    }

    fn note_outcome(&mut self, outcome: Result<(), Failure>) {
        match outcome {
            Ok(()) => self.failing = false,
            Err(error) if !self.failing => {
                self.failing = true;
                log::warn!("etcd: it and MySQL cannot be kept alike now, repeating: {}", crate::error_chain(&error));
            }
            Err(_) => {}
        }
    }
}

/// Every row that etcd has or should have; of more than `count_max` the first.
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
