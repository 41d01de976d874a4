//! The installation of a process, and the sentences that refuse a Redis of another one.

use std::sync::OnceLock;

/// The installation of this process.
#[derive(Debug)]
pub struct Ownership {
    installation: String,
    prefix: String,
    /// Why Redis must not be used, as a sentence for people.
    refusal: OnceLock<String>,
}

impl Ownership {
    /// `installation` is the id in MySQL, and `prefix` the prefix of the keys in Redis.
    pub fn new(installation: String, prefix: String) -> Self {
        Self { installation, prefix, refusal: OnceLock::new() }
    }

    pub fn installation(&self) -> &str {
        &self.installation
    }

    /// Why Redis must not be used, if it was ever found to belong to somebody else.
    pub fn refusal(&self) -> Option<&str> {
        self.refusal.get().map(String::as_str)
    }

    /// Notes why Redis must not be used. The first reason stays.
    pub fn refuse(&self, sentence: &str) {
        let _ = self.refusal.set(sentence.to_owned());
    }

    /// The refusal of a Redis that belongs to the installation `owner`.
    pub fn owned_by(&self, owner: &str) -> String {
        let Self { installation, prefix, .. } = self;
        format!(
            "Redis has data of installation {owner} under the prefix {prefix}, and this database is installation \
             {installation}; use another Redis or prefix, or type `couponrush adopt`"
        )
    }

    /// The refusal of a Redis with data of unknown origin.
    pub fn unowned(&self) -> String {
        let Self { installation, prefix, .. } = self;
        format!(
            "Redis has data under the prefix {prefix} that was not loaded from this database, installation \
             {installation}; use another Redis or prefix, or type `couponrush adopt`"
        )
    }

    /// The refusal of an empty Redis that the installation `other` uses, too.
    pub fn awaited_by(&self, other: &str) -> String {
        let Self { installation, prefix, .. } = self;
        format!(
            "installation {other} uses the empty prefix {prefix} of Redis, too, and this database is installation \
             {installation}; give each installation a Redis or a prefix of its own"
        )
    }

    /// The refusal of a Redis that `process` uses with another database of the same installation.
    pub fn copied(&self, process: &str) -> String {
        let Self { installation, prefix, .. } = self;
        format!(
            "process {process} of installation {installation} uses Redis with the prefix {prefix} and another MySQL \
             database; if this database is a copy, type `couponrush new-installation`, and use another Redis or prefix"
        )
    }
}
