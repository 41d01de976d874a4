//! Settings changed by operators at run time: limits and switches, equal on all instances.
//!
//! A change goes to MySQL, then to memory, then the operator gets the answer. Instances read MySQL twice a second.
//! While MySQL is away, changes fail and the settings in force stay. An invalid value is ignored and logged once.
//!
//! [`Settings::parse`] is the only parser of these JSON objects, for request bodies and for values from etcd.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::{BadSetting, Limits, Switches};
use crate::base::{Outage, every};
use crate::mysql::settings::{self, SettingName, StoredSetting};
use crate::mysql::{Db, DbError};

/// Half a second, because every instance must learn of a change within a second.
const READ_EVERY: Duration = Duration::from_millis(500);

/// A validated value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    Limits(Limits),
    Switches(Switches),
}

pub struct Settings {
    db: Db,
    /// Values of keys that an operator omits.
    defaults: Limits,
    limits: ArcSwap<Limits>,
    switches: ArcSwap<Switches>,
    /// The last processed revisions. Locked while a setting is put in force, so no older revision replaces a newer one.
    seen: Mutex<SeenRevisions>,
    outage: Outage,
}

#[derive(Debug, Default)]
struct SeenRevisions {
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

    /// The complete setting as JSON, as stored in MySQL and etcd.
    pub fn to_json(&self) -> String {
        let json = match self {
            Self::Limits(limits) => serde_json::to_string(limits),
            Self::Switches(switches) => serde_json::to_string(switches),
        };
        json.expect("our own types have string keys and no failing serializers")
    }
}

impl Settings {
    /// Starts with the defaults. [`Settings::load`] replaces them.
    pub fn new(db: Db, defaults: Limits) -> Self {
        Self {
            db,
            limits: ArcSwap::from_pointee(defaults.clone()),
            defaults,
            switches: ArcSwap::from_pointee(Switches::default()),
            seen: Mutex::default(),
            outage: Outage::new("settings: reading"),
        }
    }

    pub fn limits(&self) -> Guard<Arc<Limits>> {
        self.limits.load()
    }

    pub fn switches(&self) -> Guard<Arc<Switches>> {
        self.switches.load()
    }

    /// Parses an object with lower-case keys as setting `name`. Missing keys take defaults, unknown keys are ignored.
    ///
    /// # Errors
    /// [`BadSetting`] names the first invalid field.
    pub fn parse(&self, name: SettingName, object: &Map<String, Value>) -> Result<Setting, BadSetting> {
        match name {
            SettingName::Limits => Limits::parse(object, &self.defaults).map(Setting::Limits),
            SettingName::Switches => Switches::parse(object).map(Setting::Switches),
        }
    }

    /// Parses a JSON text from MySQL or etcd like [`Settings::parse`]. Keys may be in any case.
    ///
    /// # Errors
    /// [`BadSetting`], also if the text is not a JSON object.
    pub fn parse_text(&self, name: SettingName, text: &str) -> Result<Setting, BadSetting> {
        let object: Map<String, Value> =
            serde_json::from_str(text).map_err(|_| BadSetting::new("the value", "a JSON object".to_owned()))?;
        let object = object.into_iter().map(|(key, value)| (key.to_lowercase(), value)).collect();
        self.parse(name, &object)
    }

    /// Changes a setting in MySQL, then on this instance. Other instances follow within a second. Returns the revision.
    ///
    /// # Errors
    /// [`DbError`]. With an unknown outcome, all instances converge on the old value or on the new one.
    pub async fn change(&self, setting: &Setting, by: &str) -> Result<u64, DbError> {
        let json = setting.to_json();
        let revision = settings::write(&self.db, setting.name(), &json, by).await?;
        log::info!("settings: {by} changed {} to {json}", setting.name().as_str());
        self.put_in_force(setting, revision);
        Ok(revision)
    }

    /// Puts a setting in force on this instance before MySQL stores it. The next revision read from MySQL replaces it.
    pub fn anticipate(&self, setting: &Setting) {
        let _seen = self.seen();
        self.store(setting);
    }

    /// Reads the settings from MySQL. Must succeed before the instance serves requests.
    ///
    /// # Errors
    /// [`DbError`]. The settings in force stay.
    pub async fn load(&self) -> Result<(), DbError> {
        for row in settings::read_all(&self.db).await? {
            self.take_over(&row);
        }
        Ok(())
    }

    /// Reads MySQL twice a second until `stop`. While reads fail, the settings in force stay.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        every(READ_EVERY, &stop, || async {
            self.outage.note(self.load().await);
        })
        .await;
    }

    fn take_over(&self, row: &StoredSetting) {
        let Some(name) = SettingName::parse(&row.name) else { return };
        if row.revision <= *self.seen().of(name) {
            return;
        }
        match self.parse_text(name, &row.value) {
            Ok(setting) => {
                if self.put_in_force(&setting, row.revision) {
                    log::info!("settings: {} by {} in force, revision {}", row.name, row.changed_by, row.revision);
                }
            }
            Err(error) => {
                log::error!("settings: {} is invalid at revision {}, old value kept: {error}", row.name, row.revision);
                *self.seen().of(name) = row.revision;
            }
        }
    }

    /// Puts the value of `revision` in force. Returns `false` if a later revision is already in force.
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

    /// A poisoned lock is used anyway: revisions only grow.
    fn seen(&self) -> MutexGuard<'_, SeenRevisions> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SeenRevisions {
    fn of(&mut self, name: SettingName) -> &mut u64 {
        match name {
            SettingName::Limits => &mut self.limits,
            SettingName::Switches => &mut self.switches,
        }
    }
}
