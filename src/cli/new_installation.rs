//! `couponrush new-installation`: gives a copied database an id of its own.

use crate::app::{StartError, open_db};
use crate::config::MysqlArgs;
use crate::mysql::DbError;
use crate::mysql::installation::{self, Renewal};
use crate::mysql::migrate::migrate;

/// The reason for a failed command. Unless MySQL has not answered, nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum NewInstallationError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Db(#[from] DbError),
    #[error("instance {0} uses this database; stop every instance, wait 10 s, and type the command again")]
    InUse(String),
}

/// Migrates the database, gives it another id, and prints both.
///
/// # Errors
/// Returns a [`NewInstallationError`].
pub async fn run(args: &MysqlArgs) -> Result<(), NewInstallationError> {
    let db = open_db(args)?;
    db.ping().await.map_err(StartError::Mysql)?;
    migrate(&db).await.map_err(StartError::Migrate)?;
    let (before, after) = match installation::renew(&db).await? {
        Renewal::Done { before, after } => (before, after),
        Renewal::InUse(instance) => return Err(NewInstallationError::InUse(instance)),
    };
    println!("this database was installation {before}, and is installation {after} from now on");
    println!("Give it a Redis or a prefix of its own. The first start waits 10 s for beats of other installations.");
    Ok(())
}
