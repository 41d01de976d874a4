//! `couponrush admin`

use std::io::{BufRead, stdin};
use std::num::NonZeroUsize;

use crate::app::{StartError, open_db, passwords};
use crate::config::{AdminCommand, TOKEN_SECONDS_MAX};
use crate::db::{Db, DbError, users};
use crate::domain::{Kind, NameError, Password, PasswordError, UserName};
use crate::now_seconds;

/// Why the command did nothing.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("the name does not do")]
    Name(#[from] NameError),
    #[error("the password (the first line of standard input) does not do")]
    Password(#[from] PasswordError),
    #[error("standard input cannot be read")]
    Input(#[from] std::io::Error),
    #[error("the password cannot be hashed")]
    Hash(#[from] crate::auth::HashError),
    #[error("a user of that name exists")]
    NameTaken,
    #[error("there is no user of that name")]
    NoSuchUser,
    #[error(transparent)]
    Db(DbError),
}

/// Makes an admin, or gives a user a new password.
///
/// # Errors
/// [`AdminError`].
pub async fn run(command: AdminCommand) -> Result<(), AdminError> {
    match command {
        AdminCommand::Create { name, mysql } => {
            let (db, name, hash) = prepare(&mysql.mysql_url, name).await?;
            match users::insert(&db, &name, Kind::Admin, &hash).await {
                Ok(()) => println!("made the admin {name}"),
                Err(DbError::Duplicate { .. }) => return Err(AdminError::NameTaken),
                Err(error) => return Err(AdminError::Db(error)),
            }
        }
        AdminCommand::Password { name, mysql } => {
            let (db, name, hash) = prepare(&mysql.mysql_url, name).await?;
            let account = users::find_by_name(&db, &name).await.map_err(AdminError::Db)?;
            let account = account.ok_or(AdminError::NoSuchUser)?;
            // Whatever the service's setting, no token lasts longer.
            let expires_at = now_seconds() + u64::from(TOKEN_SECONDS_MAX);
            users::set_hash(&db, account.user.id, &hash, expires_at).await.map_err(AdminError::Db)?;
            println!("{name} has a new password; earlier tokens stop working within a second");
        }
    }
    Ok(())
}

async fn prepare(url: &str, name: String) -> Result<(Db, UserName, String), AdminError> {
    let name = UserName::parse(name)?;
    let mut line = String::new();
    stdin().lock().read_line(&mut line)?;
    let password = Password::parse(line.trim_end_matches(['\r', '\n']).to_owned())?;
    let db = open_db(url)?;
    db.ping().await.map_err(StartError::Mysql)?;
    let hash = passwords(NonZeroUsize::MIN)?.hash(&password).await?;
    Ok((db, name, hash))
}
