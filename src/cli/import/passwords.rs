//! The last step wraps users' MD5 hashes in argon2id, on all cores.
//!
//! MySQL knows the users without a password hash. A killed run can continue, and the service may run meanwhile.

use std::collections::HashMap;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::report::{LeftOut, RefusedRow};
use super::users::md5;
use super::{Import, ImportError};
use crate::config::{IMPORT_BATCH_HASHES, cores};
use crate::domain::UserId;
use crate::mysql::import::source::{self, SourceUser};
use crate::mysql::import::{SourceId, hashes};

impl Import<'_> {
    /// Wraps the password of every imported user without a password hash.
    pub(super) async fn wrap_passwords<W, E>(&mut self, wrap: W) -> Result<(), ImportError>
    where
        W: AsyncFn(&str) -> Result<String, E>,
        E: std::error::Error + Send + Sync + 'static,
    {
        let total = hashes::count_missing(self.db, self.source).await.map_err(ImportError::Target)?;
        let mut stage = self.progress.begin("passwords", total);
        let mut after = SourceId(i64::MIN);
        loop {
            let page = hashes::missing_after(self.db, self.source, after, IMPORT_BATCH_HASHES);
            let page = page.await.map_err(ImportError::Target)?;
            let Some((last, _)) = page.last() else { break };
            after = *last;
            let md5s = self.read_md5s(&page).await?;
            let wrapped = wrap_all(md5s, &wrap).await?;
            self.recorder.report.passwords_wrapped +=
                hashes::store(self.db, &wrapped).await.map_err(ImportError::Target)?;
            stage.advance(page.len() as u64);
        }
        stage.finish();
        let missing = hashes::count_missing(self.db, self.source).await.map_err(ImportError::Target)?;
        self.recorder.report.passwords_missing = missing;
        Ok(())
    }

    /// Reads the current MD5 hashes of these users. A user without a valid hash is refused.
    async fn read_md5s(&mut self, page: &[(SourceId, UserId)]) -> Result<Vec<(UserId, String)>, ImportError> {
        let ids: Vec<SourceId> = page.iter().map(|(row, _)| *row).collect();
        let rows = source::users(self.from, &ids).await.map_err(ImportError::Source)?;
        let rows: HashMap<SourceId, SourceUser> = rows.into_iter().map(|row| (row.id(), row)).collect();
        let mut md5s = Vec::with_capacity(page.len());
        for (id, user) in page {
            match rows.get(id).and_then(md5) {
                Some(md5) => md5s.push((*user, md5)),
                None => {
                    let username = rows.get(id).and_then(|row| row.username.clone());
                    self.recorder.report.refused_passwords += 1;
                    self.recorder.refuse(RefusedRow::user_named(*id, username, LeftOut::Password))?;
                }
            }
        }
        Ok(md5s)
    }
}

async fn wrap_all<W, E>(md5s: Vec<(UserId, String)>, wrap: &W) -> Result<Vec<(UserId, String)>, ImportError>
where
    W: AsyncFn(&str) -> Result<String, E>,
    E: std::error::Error + Send + Sync + 'static,
{
    let wrapping = md5s.into_iter().map(async |(user, md5)| match wrap(&md5).await {
        Ok(hash) => Ok((user, hash)),
        Err(error) => Err(ImportError::Wrap(error.into())),
    });
    stream::iter(wrapping).buffer_unordered(cores().get()).try_collect().await
}
