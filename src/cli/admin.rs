//! `couponrush admin`: creates admins and sets passwords.

use std::io::{BufRead, stdin};
use std::num::NonZeroUsize;

use crate::app::{StartError, open_db, passwords};
use crate::auth::Caller;
use crate::base::now_seconds;
use crate::config::{AdminCommand, MysqlArgs, TOKEN_SECONDS_MAX};
use crate::domain::{Kind, NameError, Password, PasswordError, UserName};
use crate::mysql::{Db, DbError, users};

/// The reason for a failed command. Unless the outcome in MySQL is unknown, the database is unchanged.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("the name is invalid")]
    Name(#[from] NameError),
    #[error("the password, the first line of standard input, is invalid")]
    Password(#[from] PasswordError),
    #[error("standard input could not be read")]
    Input(#[from] std::io::Error),
    #[error("the password could not be hashed")]
    Hash(#[from] crate::auth::HashError),
    #[error("a user of this name exists already")]
    NameTaken,
    #[error("no user of this name exists")]
    NoSuchUser,
    #[error(transparent)]
    Db(DbError),
}

/// Creates an admin, or sets the password of a user.
///
/// # Errors
/// Returns an [`AdminError`].
pub async fn run(command: AdminCommand) -> Result<(), AdminError> {
    match command {
        AdminCommand::Create { name, mysql } => {
            let (db, name, hash) = prepare(&mysql, name).await?;
            match users::insert(&db, &name, Kind::Admin, &hash).await {
                Ok(()) => println!("created the admin {name}"),
                Err(DbError::Duplicate { .. }) => return Err(AdminError::NameTaken),
                Err(error) => return Err(AdminError::Db(error)),
            }
        }
        AdminCommand::Password { name, mysql } => {
            let (db, name, hash) = prepare(&mysql, name).await?;
            let account = users::find_by_name(&db, &name).await.map_err(AdminError::Db)?;
            let account = account.ok_or(AdminError::NoSuchUser)?;
            // Upper bound of every session token's lifetime, for any configuration of the service.
            let expires_at = now_seconds() + u64::from(TOKEN_SECONDS_MAX);
            users::set_hash(&db, account.user.id, None, &hash, expires_at).await.map_err(AdminError::Db)?;
            println!("{name} has a new password. Earlier tokens stop working within a second.");
        }
    }
    Ok(())
}

async fn prepare(mysql: &MysqlArgs, name: String) -> Result<(Db, UserName, String), AdminError> {
    let name = UserName::parse(name)?;
    let mut line = String::new();
    stdin().lock().read_line(&mut line)?;
    let password = Password::parse(line.trim_end_matches(['\r', '\n']).to_owned())?;
    let db = open_db(mysql)?;
    db.ping().await.map_err(StartError::Mysql)?;
    let hash = passwords(NonZeroUsize::MIN)?.hash(&password, Caller::PROGRAM).await?;
    Ok((db, name, hash))
}
