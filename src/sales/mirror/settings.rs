//! Synchronizes limits and switches between MySQL and etcd, by the rules for activities.
//!
//! A row with `etcd_revision` 0 is put to etcd. A later put of the key is an edit by an operator. An etcd that went
//! back gets the missing keys. A deleted key means the defaults, and the defaults are then put.

use std::sync::Arc;

use super::edit::MirrorError;
use super::state::MirrorState;
use crate::etcd::{Etcd, Listing, Notice, Value};
use crate::memory::{Setting, Settings};
use crate::mysql::settings::{self, SettingAdoption, SettingName};
use crate::mysql::{Db, DbError};

const NAMES: [SettingName; 2] = [SettingName::Limits, SettingName::Switches];
/// `changed_by` of a setting changed through etcd.
const BY: &str = "etcd";

pub struct SettingsMirror {
    db: Db,
    etcd: Etcd,
    settings: Arc<Settings>,
    state: Arc<MirrorState>,
    /// Edits that MySQL may not have yet, by name: the revision of the write, and the value, `None` for a deletion.
    edits: [Option<(u64, Option<Value>)>; NAMES.len()],
    /// A listing not compared with MySQL yet.
    listing: Option<Listing>,
    /// Revisions at which an invalid value was logged.
    bad: [u64; NAMES.len()],
}

impl SettingsMirror {
    pub(super) fn new(db: Db, etcd: Etcd, settings: Arc<Settings>, state: Arc<MirrorState>) -> Self {
        Self { db, etcd, settings, state, edits: [None, None], listing: None, bad: [0; NAMES.len()] }
    }

    /// Records a notice of the watcher. [`SettingsMirror::settle`] processes it.
    pub(super) fn note(&mut self, notice: &Notice) {
        match notice {
            Notice::Listing(listing) => {
                self.edits = [None, None];
                let ours = |key: &String| SettingName::parse(key).is_some();
                let entries = listing.entries.iter().filter(|(key, _)| ours(key));
                let entries = entries.map(|(key, entry)| (key.clone(), entry.clone())).collect();
                self.listing = Some(Listing { revision: listing.revision, entries });
            }
            Notice::Changes(changes) => {
                for change in changes {
                    if let Some(name) = SettingName::parse(&change.key) {
                        self.edits[name as usize] = Some((change.revision, change.value.clone()));
                    }
                }
            }
        }
    }

    /// Stores edits by operators in MySQL. If MySQL fails, the edit is put in force in memory until the retry.
    pub(super) async fn settle(&mut self) -> Result<(), MirrorError> {
        if let Some(listing) = self.listing.take()
            && let Err(error) = self.compare(&listing).await
        {
            self.listing = Some(listing);
            return Err(error.into());
        }
        for name in NAMES {
            let Some((revision, value)) = self.edits[name as usize].clone() else { continue };
            if let Some(setting) = self.read(name, revision, value.as_ref()) {
                let to = value.map_or(0, |_| revision);
                if let Err(error) = self.adopt(&setting, revision, to).await {
                    self.settings.anticipate(&setting);
                    return Err(error.into());
                }
            }
            self.edits[name as usize] = None;
        }
        Ok(())
    }

    /// Puts settings that etcd lacks, replacing older values.
    pub(super) async fn repair(&self) -> Result<(), MirrorError> {
        for row in settings::lagging(&self.db).await? {
            let Some(name) = SettingName::parse(&row.name) else { continue };
            let value = row.value.into_bytes();
            let put_at = match self.etcd.get(name.as_str()).await? {
                Some(entry) if entry.value == Value::Bytes(value.clone()) => Some(entry.revision),
                entry => self.etcd.put(name.as_str(), value, entry.map_or(0, |entry| entry.revision)).await?,
            };
            if let Some(put_at) = put_at {
                settings::note_etcd(&self.db, name, row.revision, put_at).await?;
                self.state.count_put();
            }
        }
        Ok(())
    }

    async fn compare(&mut self, listing: &Listing) -> Result<(), DbError> {
        for name in NAMES {
            let known = settings::read(&self.db, name).await?.map(|row| row.etcd_revision);
            let entry = listing.entries.get(name.as_str());
            let edit = match (known, entry) {
                (Some(0) | None, None) | (Some(0), Some(_)) => None,
                // etcd was restored to an older state, or wiped.
                (Some(known), entry) if entry.map_or(listing.revision, |entry| entry.revision) < known => {
                    settings::forget_etcd(&self.db, name, known).await?;
                    self.state.count_went_back();
                    None
                }
                (Some(known), Some(entry)) if entry.revision == known => None,
                (_, Some(entry)) => Some((entry.revision, Some(entry.value.clone()))),
                (Some(_), None) => Some((listing.revision, None)),
            };
            // An edit that arrived since the listing is newer.
            let slot = &mut self.edits[name as usize];
            *slot = slot.take().or(edit);
        }
        Ok(())
    }

    /// Parses the value of a key. Returns `None` if the value is invalid, and logs the error once per revision.
    fn read(&mut self, name: SettingName, revision: u64, value: Option<&Value>) -> Option<Setting> {
        let text = match value {
            None => Ok("{}"),
            Some(Value::Bytes(bytes)) => std::str::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned()),
            Some(Value::TooLong(length)) => Err(format!("too long with {length} bytes")),
        };
        let setting = text.and_then(|text| self.settings.parse_text(name, text).map_err(|error| error.to_string()));
        match setting {
            Ok(setting) => Some(setting),
            Err(error) => {
                if self.bad[name as usize] != revision {
                    self.bad[name as usize] = revision;
                    self.state.count_refused();
                    log::warn!("etcd: {} at revision {revision} is not followed: {error}", name.as_str());
                }
                None
            }
        }
    }

    async fn adopt(&self, setting: &Setting, revision: u64, etcd_revision: u64) -> Result<(), DbError> {
        let (name, json) = (setting.name(), setting.to_json());
        match settings::adopt(&self.db, name, &json, BY, revision, etcd_revision).await? {
            SettingAdoption::Now(revision) => {
                self.settings.put_in_force(setting, revision);
                self.state.count_adopted();
                log::info!("etcd: {} changed by an operator and in force: {json}", name.as_str());
            }
            SettingAdoption::Before => {}
        }
        Ok(())
    }
}
