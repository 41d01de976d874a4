//! The result of an import, with every refused row.
//!
//! Names from the Go system are quoted and escaped, because they may contain anything, even terminal control codes.

use std::fmt;
use std::io::Write;

use super::import_error::ImportError;
use crate::config::IMPORT_SHOWN_MAX;
use crate::domain::{Amount, Description, FaceValue, NameError};
use crate::mysql::import::SourceId;
use crate::mysql::import::source::{SourceCoupon, SourceUser};

/// The reason for refusing a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeftOut {
    #[error("{0}")]
    Name(#[from] NameError),
    #[error("the kind is neither customer nor saler")]
    Kind,
    #[error("the password is not an MD5 of 32 hex digits")]
    Password,
    #[error("the name is taken here, by somebody who is not that database's user of that id")]
    NameTaken,
    #[error("that database has no user of that name")]
    NoUser,
    #[error("the user was refused")]
    UserRefused,
    #[error("left is not a whole number up to {}", Amount::MAX)]
    Left,
    #[error("stock is not a whole number from 0 to {}", FaceValue::MAX)]
    FaceValue,
    #[error("the description has more than {} characters", Description::CHARS_MAX)]
    Description,
    #[error("it has no units: none are left, and nobody whose row was taken over holds one")]
    NoUnits,
    #[error("the saler already has a coupon of this name")]
    OfferedTwice,
    #[error("no saler offers a coupon of that name")]
    NoOffer,
    #[error("salers {0:?} and {1:?} offer a coupon of that name, and the row does not say whose it is")]
    SeveralOffers(String, String),
    #[error("the coupon was refused")]
    OfferRefused,
    #[error("the coupon has been on sale here since an earlier import")]
    OnSale,
    #[error("the coupon would have more than {} units", Amount::MAX)]
    TooMany,
}

/// The table of the Go system that has a refused row.
#[derive(Debug, Clone, PartialEq, Eq)]
enum RefusedFrom {
    Users,
    Coupons { coupon_name: Option<String> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRow {
    id: SourceId,
    username: Option<String>,
    from: RefusedFrom,
    pub reason: LeftOut,
}

/// A coupon with a wrong amount: `left` plus the imported claims differ from the amount stored in the Go system.
#[derive(Debug, Clone, PartialEq)]
pub struct Gap {
    pub row: SourceId,
    pub saler: String,
    pub coupon: String,
    /// The amount in the Go system, if any.
    pub stored_amount: Option<f64>,
    pub amount: u32,
    pub held: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImportCounts {
    pub taken: u64,
    /// Rows imported by an earlier run.
    pub already: u64,
    pub refused: u64,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct ImportReport {
    pub users: ImportCounts,
    pub coupons: ImportCounts,
    pub claims: ImportCounts,
    pub passwords_wrapped: u64,
    /// Users without a password hash, who cannot log in yet.
    pub passwords_missing: u64,
    /// The running instance, if only passwords were wrapped because of it.
    pub rows_skipped: Option<String>,
    /// The first [`IMPORT_SHOWN_MAX`] refused rows.
    pub refused: Vec<RefusedRow>,
    pub refused_passwords: u64,
    /// The first [`IMPORT_SHOWN_MAX`] gaps.
    pub gaps: Vec<Gap>,
    pub gaps_count: u64,
}

/// Collects the report, and writes each refused row and each gap to the caller's `lines`.
pub(super) struct Recorder<'a> {
    pub(super) report: ImportReport,
    lines: &'a mut (dyn Write + Send),
}

impl RefusedRow {
    pub(super) fn user(row: &SourceUser, reason: LeftOut) -> Self {
        Self::user_named(row.id(), row.username.clone(), reason)
    }

    /// A refused user. The row may have been deleted from the Go system.
    pub(super) const fn user_named(id: SourceId, username: Option<String>, reason: LeftOut) -> Self {
        Self { id, username, from: RefusedFrom::Users, reason }
    }

    pub(super) const fn offer(id: SourceId, saler: String, coupon: String, reason: LeftOut) -> Self {
        let from = RefusedFrom::Coupons { coupon_name: Some(coupon) };
        Self { id, username: Some(saler), from, reason }
    }

    pub(super) fn coupon(row: &SourceCoupon, reason: LeftOut) -> Self {
        let from = RefusedFrom::Coupons { coupon_name: row.coupon_name.clone() };
        Self { id: row.id(), username: row.username.clone(), from, reason }
    }
}

impl<'a> Recorder<'a> {
    pub(super) fn new(lines: &'a mut (dyn Write + Send)) -> Self {
        Self { report: ImportReport::default(), lines }
    }

    /// Records a refused row. The caller counts the row.
    pub(super) fn refuse(&mut self, row: RefusedRow) -> Result<(), ImportError> {
        writeln!(self.lines, "refused: {row}").map_err(ImportError::Report)?;
        if self.report.refused.len() < IMPORT_SHOWN_MAX {
            self.report.refused.push(row);
        }
        Ok(())
    }

    pub(super) fn note_gap(&mut self, gap: Gap) -> Result<(), ImportError> {
        writeln!(self.lines, "gap: {gap}").map_err(ImportError::Report)?;
        self.report.gaps_count += 1;
        if self.report.gaps.len() < IMPORT_SHOWN_MAX {
            self.report.gaps.push(gap);
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<ImportReport, ImportError> {
        self.lines.flush().map_err(ImportError::Report)?;
        Ok(self.report)
    }
}

impl ImportReport {
    /// Refused rows of all kinds.
    pub const fn refused_count(&self) -> u64 {
        self.users.refused + self.coupons.refused + self.claims.refused + self.refused_passwords
    }
}

impl fmt::Display for RefusedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |text: &Option<String>| text.as_ref().map_or("no name".to_owned(), |text| format!("{text:?}"));
        let Self { id: SourceId(id), username, from, reason } = self;
        match from {
            RefusedFrom::Users => write!(f, "users {id} {}: {reason}", text(username)),
            RefusedFrom::Coupons { coupon_name } => {
                write!(f, "coupons {id} {} of {}: {reason}", text(coupon_name), text(username))
            }
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { row: SourceId(row), saler, coupon, stored_amount, amount, held } = self;
        let stored = stored_amount.map_or("none".to_owned(), |amount| amount.to_string());
        let left = amount.saturating_sub(*held);
        write!(f, "coupons {row} {coupon:?} of {saler:?}: amount {stored} is now {amount}, {held} held and {left} left")
    }
}

impl fmt::Display for ImportCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} imported, {} already present, {} refused", self.taken, self.already, self.refused)
    }
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rows_skipped {
            Some(instance) => {
                writeln!(f, "rows:      imported earlier and not compared, because {instance} is running")?
            }
            None => {
                writeln!(f, "users:     {}", self.users)?;
                writeln!(f, "coupons:   {}", self.coupons)?;
                writeln!(f, "claims:    {}", self.claims)?;
            }
        }
        writeln!(f, "passwords: {} wrapped, {} still missing", self.passwords_wrapped, self.passwords_missing)?;
        show(f, "Refused", self.refused_count(), &self.refused)?;
        show(f, "Coupons with a corrected amount", self.gaps_count, &self.gaps)
    }
}

fn show<T: fmt::Display>(f: &mut fmt::Formatter<'_>, title: &str, count: u64, first: &[T]) -> fmt::Result {
    if count == 0 {
        return Ok(());
    }
    let shown = first.len() as u64;
    match shown < count {
        true => writeln!(f, "{title} ({count}, first {shown} shown, all with --report):")?,
        false => writeln!(f, "{title} ({count}):")?,
    }
    first.iter().try_for_each(|line| writeln!(f, "  {line}"))
}
