//! The first pass imports users, without passwords.

use super::report::{LeftOut, RefusedRow};
use super::{Import, ImportError};
use crate::config::IMPORT_BATCH_ROWS;
use crate::domain::{Kind, UserName};
use crate::mysql::import::SourceId;
use crate::mysql::import::source::{self, SourceUser};
use crate::mysql::import::users::{self, ImportedUser, TakenUser};

impl Import<'_> {
    /// Imports all users. A user cannot log in before the password is wrapped.
    pub(super) async fn take_users(&mut self, total: u64) -> Result<(), ImportError> {
        let mut stage = self.progress.begin("users", total);
        let mut after = SourceId(i64::MIN);
        loop {
            let rows = source::users_after(self.from, after, IMPORT_BATCH_ROWS).await.map_err(ImportError::Source)?;
            let Some(last) = rows.last() else { break };
            after = last.id();
            self.take_user_page(&rows).await?;
            stage.advance(rows.len() as u64);
        }
        stage.finish();
        Ok(())
    }

    async fn take_user_page(&mut self, rows: &[SourceUser]) -> Result<(), ImportError> {
        let mut new = Vec::with_capacity(rows.len());
        let mut new_rows = Vec::with_capacity(rows.len());
        for row in rows {
            match parse(row) {
                Ok(user) => {
                    new.push(user);
                    new_rows.push(row);
                }
                Err(reason) => self.refuse_user(row, reason)?,
            }
        }
        let taken = users::take(self.db, self.source, &new).await?;
        for (row, taken) in new_rows.into_iter().zip(taken) {
            match taken {
                TakenUser::Now => self.recorder.report.users.taken += 1,
                TakenUser::Earlier => self.recorder.report.users.already += 1,
                TakenUser::NameTaken => self.refuse_user(row, LeftOut::NameTaken)?,
            }
        }
        Ok(())
    }

    fn refuse_user(&mut self, row: &SourceUser, reason: LeftOut) -> Result<(), ImportError> {
        self.recorder.report.users.refused += 1;
        self.recorder.refuse(RefusedRow::user(row, reason))
    }
}

fn parse(row: &SourceUser) -> Result<ImportedUser, LeftOut> {
    let name = UserName::parse(row.username.clone().unwrap_or_default())?;
    let kind = match row.kind.as_deref().and_then(Kind::parse) {
        Some(kind @ (Kind::Customer | Kind::Saler)) => kind,
        // Admins are created by our own command line only, and staff by their merchants.
        Some(Kind::Staff | Kind::Admin) | None => return Err(LeftOut::Kind),
    };
    md5(row).ok_or(LeftOut::Password)?;
    Ok(ImportedUser { source_id: row.id(), name, kind })
}

/// The password of the row as 32 lower-case hex digits, or `None` if it is not an MD5.
pub(super) fn md5(row: &SourceUser) -> Option<String> {
    let password = row.password.as_deref()?;
    let is_md5 = password.len() == 32 && password.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_md5.then(|| password.to_ascii_lowercase())
}
