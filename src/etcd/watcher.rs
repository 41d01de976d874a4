//! Follows the keys below the prefix: lists all keys, watches from there, and starts over.
//!
//! A watch alone is unreliable. A broken connection ends the watch. A compaction cancels the watch if changes were not
//! delivered yet. etcd 3.4 may even lose changes around a compaction without an error. Therefore all keys are listed
//! again every [`LIST_EVERY`], and after any failure or silence. A new watch begins at the revision of the listing.
//! While etcd answers, the owner's view is at most [`LIST_EVERY`] old.
//!
//! The owner asks for one notice at a time. Between calls nothing is read, so nothing is queued here.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Event, EventType, WatchResponse, WatchStream};
use tokio::time::Instant;

use super::{Etcd, EtcdError, Figures, KeyChange, Notice, revision, unsigned};
use crate::base::Outage;

const LIST_EVERY: Duration = Duration::from_secs(30);
/// Longest silence of a watch before a progress request is sent, and the timeout of that request.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// The first and the longest pause after a failure. Each pause doubles the previous one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

pub struct Watcher {
    etcd: Etcd,
    figures: Arc<Figures>,
    stage: WatchStage,
    /// The time of the next listing, and the revision of the last one.
    list_at: Instant,
    listed: u64,
    pause: Duration,
    outage: Outage,
}

/// The next step of a [`Watcher`].
enum WatchStage {
    List,
    /// Open a watch at the revision of the listing.
    Open,
    /// Read the open watch. `asked` is set while a progress request is unanswered.
    Read {
        stream: Box<WatchStream>,
        asked: bool,
    },
}

impl Watcher {
    pub fn new(etcd: Etcd, figures: Arc<Figures>) -> Self {
        Self {
            etcd,
            figures,
            stage: WatchStage::List,
            list_at: Instant::now(),
            listed: 0,
            pause: PAUSES.0,
            outage: Outage::new("etcd: listing and watching"),
        }
    }

    /// Returns the next notice as soon as there is one: a listing, then changes, until the next listing starts over.
    ///
    /// Failures are counted and retried with growing pauses. The first failure of an outage is logged. Dropping the
    /// future loses nothing, because the next call returns the pending notice.
    pub async fn next(&mut self) -> Notice {
        loop {
            match self.step().await {
                Ok(Some(notice)) => return notice,
                Ok(None) => {}
                Err(error) => {
                    self.stage = WatchStage::List;
                    self.figures.note_failure();
                    self.outage.begin(&error);
                    tokio::time::sleep(self.pause).await;
                    self.pause = (self.pause * 2).min(PAUSES.1);
                }
            }
        }
    }

    async fn step(&mut self) -> Result<Option<Notice>, EtcdError> {
        match &mut self.stage {
            WatchStage::List => {
                self.etcd.check_version().await?;
                let listing = self.etcd.list().await?;
                self.list_at = Instant::now() + LIST_EVERY;
                self.listed = listing.revision;
                self.figures.note_listing(listing.revision, listing.entries.len());
                self.stage = WatchStage::Open;
                Ok(Some(Notice::Listing(listing)))
            }
            WatchStage::Open => {
                // Not from the next revision on: etcd from 3.5.19 on answers no progress request for a watch that begins
                // at a later revision than the present one. The listing has the changes of its own revision.
                let stream = Box::new(self.etcd.watch(self.listed).await?);
                self.stage = WatchStage::Read { stream, asked: false };
                Ok(None)
            }
            WatchStage::Read { .. } if Instant::now() >= self.list_at => {
                self.stage = WatchStage::List;
                Ok(None)
            }
            WatchStage::Read { stream, asked } => {
                let until = self.list_at.min(Instant::now() + SILENCE_MAX);
                match tokio::time::timeout_at(until, stream.message()).await {
                    Ok(message) => {
                        *asked = false;
                        let message = message
                            .map_err(|source| EtcdError::Failed { operation: "watch", source: source.into() })?
                            .ok_or(EtcdError::Ended)?;
                        self.take(&message)
                    }
                    Err(_) if until == self.list_at => Ok(None),
                    Err(_) if *asked => Err(EtcdError::Silent),
                    Err(_) => {
                        *asked = true;
                        // Sending waits only while a hundred requests are queued.
                        let asking = tokio::time::timeout(SILENCE_MAX, stream.request_progress()).await;
                        if matches!(asking, Ok(Ok(()))) { Ok(None) } else { Err(EtcdError::Ended) }
                    }
                }
            }
        }
    }

    fn take(&mut self, message: &WatchResponse) -> Result<Option<Notice>, EtcdError> {
        if message.canceled() {
            return Err(match message.compact_revision() {
                0 => EtcdError::Cancelled(message.cancel_reason().to_owned()),
                revision => EtcdError::Compacted(revision),
            });
        }
        let revision = revision("watch", message.header())?;
        if revision < self.listed {
            return Err(EtcdError::WentBack { from: self.listed, to: revision });
        }
        self.figures.note_heard(revision);
        if message.created() {
            self.outage.end();
        } else {
            self.pause = PAUSES.0;
        }
        let changes: Vec<KeyChange> = message.events().iter().filter_map(|event| self.change(event)).collect();
        Ok((!changes.is_empty()).then_some(Notice::Changes(changes)))
    }

    /// The change of an event. `None` if the listing has the change.
    fn change(&self, event: &Event) -> Option<KeyChange> {
        let kv = event.kv().filter(|kv| unsigned(kv.mod_revision()) > self.listed)?;
        let value = match event.event_type() {
            EventType::Put => Some(self.etcd.value(kv)),
            EventType::Delete => None,
        };
        Some(KeyChange { key: self.etcd.short(kv.key()), value, revision: unsigned(kv.mod_revision()) })
    }
}
