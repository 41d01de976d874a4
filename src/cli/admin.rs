//! `couponrush admin`: creates admins, sets passwords and ends second factors.

use std::io::{BufRead, stdin};
use std::num::NonZeroUsize;

use crate::app::{self, StartError, open_db};
use crate::auth::Caller;
use crate::base::now_seconds;
use crate::config::{AdminCommand, MysqlArgs, PasswordArgs, TOKEN_SECONDS_MAX};
use crate::domain::{Kind, NameError, Password, PasswordError, PasswordMin, UserName};
use crate::mysql::{Db, DbError, second_factors, users};

/// The reason for a failed command. Unless the outcome in MySQL is unknown, the database is unchanged.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("the name is invalid")]
    Name(#[from] NameError),
    #[error("the first line of standard input is no valid password")]
    Password(#[from] PasswordError),
    #[error("standard input could not be read")]
    Input(#[from] std::io::Error),
    #[error("the password could not be hashed")]
    Hash(#[from] crate::auth::HashError),
    #[error("a user of this name exists already")]
    NameTaken,
    #[error("no user of this name exists")]
    NoSuchUser,
    #[error("the user has no second factor")]
    NoFactor,
    #[error(transparent)]
    Db(DbError),
}

/// Creates an admin, or changes how a user proves who is asking.
///
/// # Errors
/// Returns an [`AdminError`].
pub async fn run(command: AdminCommand) -> Result<(), AdminError> {
    match command {
        AdminCommand::Create { name, passwords, mysql } => {
            let name = UserName::parse_new(&name)?;
            let password = read_password(&passwords, Kind::Admin)?;
            let db = open(&mysql).await?;
            let hash = hash(&password).await?;
            match users::insert(&db, &name, Kind::Admin, &hash, false).await {
                Ok(()) => println!("created the admin {name}"),
                Err(DbError::Duplicate { .. }) => return Err(AdminError::NameTaken),
                Err(error) => return Err(AdminError::Db(error)),
            }
        }
        AdminCommand::Password { name, passwords, mysql } => {
            let name = UserName::parse(name)?;
            let db = open(&mysql).await?;
            let account = users::find_by_name(&db, &name).await.map_err(AdminError::Db)?;
            let account = account.ok_or(AdminError::NoSuchUser)?;
            let hash = hash(&read_password(&passwords, account.user.kind)?).await?;
            users::set_hash(&db, account.user.id, None, &hash, last_expiry()).await.map_err(AdminError::Db)?;
            println!("{name} has a new password. Earlier tokens stop working within a second.");
        }
        AdminCommand::EndFactor { name, mysql } => {
            let name = UserName::parse(name)?;
            let db = open(&mysql).await?;
            let account = users::find_by_name(&db, &name).await.map_err(AdminError::Db)?;
            let user = account.ok_or(AdminError::NoSuchUser)?.user.id;
            if !second_factors::end(&db, user, last_expiry()).await.map_err(AdminError::Db)? {
                return Err(AdminError::NoFactor);
            }
            println!("{name} has no second factor any more. Earlier tokens stop working within a second.");
        }
    }
    Ok(())
}

/// Upper bound of every session token's expiry, for any configuration of the service, in seconds since 1970.
fn last_expiry() -> u64 {
    now_seconds() + u64::from(TOKEN_SECONDS_MAX)
}

fn read_password(args: &PasswordArgs, kind: Kind) -> Result<Password, AdminError> {
    let mut line = String::new();
    stdin().lock().read_line(&mut line)?;
    let typed = line.trim_end_matches(['\r', '\n']).to_owned();
    Ok(PasswordMin(args.password_min.into()).parse(typed, kind)?)
}

async fn open(mysql: &MysqlArgs) -> Result<Db, AdminError> {
    let db = open_db(mysql)?;
    db.ping().await.map_err(StartError::Mysql)?;
    Ok(db)
}

async fn hash(password: &Password) -> Result<String, AdminError> {
    Ok(app::passwords(NonZeroUsize::MIN)?.hash(password, Caller::PROGRAM).await?)
}
