//! What an operator changes while the service runs: limits and switches, the same on every instance.
//!
//! MySQL has them; each instance keeps what is in force in memory, where every request looks, and reads MySQL twice a
//! second. A change is written to MySQL, then to memory, then answered. While MySQL is away nothing can be changed, and what
//! is in force stays so. A stored value that cannot be understood changes nothing either, and is logged once.
//!
//! One place says what a JSON object of either name means ([`Settings::parse`]), for a request's body and for a value that
//! an operator gives to etcd.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use serde_json::{Map, Value};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{Limits, Switches};
use crate::db::settings::{self, SettingName, StoredSetting};
use crate::db::{Db, DbError};

/// Half of the second in which every instance must know.
const READ_EVERY: Duration = Duration::from_millis(500);

/// A value that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    Limits(Limits),
    Switches(Switches),
}

/// Why a value is none: a sentence that names the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct BadSetting {
    field: &'static str,
    wanted: String,
}

/// The settings in force.
pub struct Settings {
    db: Db,
    /// What a key is that an operator leaves out.
    defaults: Limits,
    limits: ArcSwap<Limits>,
    switches: ArcSwap<Switches>,
    /// The last revision of each that was looked at. Held while one is put in force, so that an older one never follows.
    seen: Mutex<Seen>,
    /// Whether the last read failed: an outage is logged when it begins and when it ends.
    is_behind: AtomicBool,
}

#[derive(Debug, Default)]
struct Seen {
    limits: u64,
    switches: u64,
}

impl Setting {
    pub const fn name(&self) -> SettingName {
        match self {
            Self::Limits(_) => SettingName::Limits,
            Self::Switches(_) => SettingName::Switches,
        }
    }

    /// All its keys, as JSON: what MySQL and etcd hold.
    pub fn to_json(&self) -> String {
        let json = match self {
            Self::Limits(limits) => serde_json::to_string(limits),
            Self::Switches(switches) => serde_json::to_string(switches),
        };
        json.expect("our own types have string keys and no failing serializers")
    }
}

impl BadSetting {
    pub(super) fn new(field: &'static str, wanted: String) -> Self {
        Self { field, wanted }
    }

    /// The key of the JSON object whose value is wrong.
    pub const fn field(&self) -> &'static str {
        self.field
    }
}

impl fmt::Display for BadSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} must be {}.", self.field, self.wanted)
    }
}

impl Settings {
    /// The defaults are in force until [`Settings::load`].
    pub fn new(db: Db, defaults: Limits) -> Self {
        Self {
            db,
            limits: ArcSwap::from_pointee(defaults.clone()),
            defaults,
            switches: ArcSwap::from_pointee(Switches::default()),
            seen: Mutex::default(),
            is_behind: AtomicBool::new(false),
        }
    }

    /// The limits in force.
    pub fn limits(&self) -> Guard<Arc<Limits>> {
        self.limits.load()
    }

    /// The switches in force.
    pub fn switches(&self) -> Guard<Arc<Switches>> {
        self.switches.load()
    }

    /// What a JSON object means as `name`. Its keys are in lower case; one that is missing is the default, an unknown one is
    /// ignored.
    ///
    /// # Errors
    /// [`BadSetting`] names the first field that is wrong.
    pub fn parse(&self, name: SettingName, object: &Map<String, Value>) -> Result<Setting, BadSetting> {
        match name {
            SettingName::Limits => Limits::parse(object, &self.defaults).map(Setting::Limits),
            SettingName::Switches => Switches::parse(object).map(Setting::Switches),
        }
    }

    /// As [`Settings::parse`], of a text from outside the program.
    ///
    /// # Errors
    /// [`BadSetting`], also where the text is not a JSON object.
    pub fn parse_text(&self, name: SettingName, text: &str) -> Result<Setting, BadSetting> {
        let object: Map<String, Value> =
            serde_json::from_str(text).map_err(|_| BadSetting::new("the value", "a JSON object".to_owned()))?;
        let object = object.into_iter().map(|(key, value)| (key.to_lowercase(), value)).collect();
        self.parse(name, &object)
    }

    /// Changes a setting: in MySQL, then here; the other instances follow within a second. Returns its revision.
    ///
    /// # Errors
    /// [`DbError`]; where the outcome is open, the old setting or the new one will be in force everywhere.
    pub async fn change(&self, setting: &Setting, by: &str) -> Result<u64, DbError> {
        let json = setting.to_json();
        let revision = settings::write(&self.db, setting.name(), &json, by).await?;
        log::info!("settings: {by} changed {} to {json}", setting.name().as_str());
        self.put_in_force(setting, revision);
        Ok(revision)
    }

    /// Puts a setting in force on this instance before MySQL has it; the next revision that MySQL has replaces it.
    pub fn anticipate(&self, setting: &Setting) {
        let _seen = self.seen();
        self.store(setting);
    }

    /// Reads what MySQL has: a start must not serve a request before.
    ///
    /// # Errors
    /// [`DbError`]; what is in force stays.
    pub async fn load(&self) -> Result<(), DbError> {
        for row in settings::read_all(&self.db).await? {
            self.take_over(&row);
        }
        Ok(())
    }

    /// Reads MySQL twice a second until `stop`.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let watching = async {
            let mut ticks = tokio::time::interval(READ_EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                self.refresh().await;
            }
        };
        stop.run_until_cancelled(watching).await;
    }

    async fn refresh(&self) {
        match self.load().await {
            Ok(()) if self.is_behind.swap(false, Ordering::Relaxed) => log::info!("settings are read again"),
            Ok(()) => {}
            Err(error) if !self.is_behind.swap(true, Ordering::Relaxed) => {
                log::warn!("settings cannot be read, those in force stay: {}", crate::error_chain(&error));
            }
            Err(_) => {}
        }
    }

    fn take_over(&self, row: &StoredSetting) {
        let Some(name) = SettingName::parse(&row.name) else { return };
        if row.revision <= *self.seen().of(name) {
            return;
        }
        match self.parse_text(name, &row.value) {
            Ok(setting) => {
                if self.put_in_force(&setting, row.revision) {
                    log::info!("settings: {} of {} are in force, revision {}", row.name, row.changed_by, row.revision);
                }
            }
            Err(error) => {
                log::error!("settings: {}, revision {}, are not: {error}", row.name, row.revision);
                *self.seen().of(name) = row.revision;
            }
        }
    }

    /// Puts in force what MySQL has at `revision`; `false` where a later revision was there before.
    pub fn put_in_force(&self, setting: &Setting, revision: u64) -> bool {
        let mut seen = self.seen();
        let seen = seen.of(setting.name());
        let is_latest = revision >= *seen;
        if is_latest {
            *seen = revision;
            self.store(setting);
        }
        is_latest
    }

    fn store(&self, setting: &Setting) {
        match setting {
            Setting::Limits(limits) => self.limits.store(Arc::new(limits.clone())),
            Setting::Switches(switches) => self.switches.store(Arc::new(*switches)),
        }
    }

    /// A lock that a panic has poisoned is used all the same: revisions only grow.
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn of(&mut self, name: SettingName) -> &mut u64 {
        match name {
            SettingName::Limits => &mut self.limits,
            SettingName::Switches => &mut self.switches,
        }
    }
}
