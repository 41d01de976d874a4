//! `couponrush poisoned`: lists claims that could not be stored, and acknowledges them.

use crate::app::{StartError, open_db};
use crate::config::PoisonedCommand;
use crate::mysql::DbError;
use crate::mysql::poisoned::{self, Acknowledged, PoisonedClaim};

/// Claims per query.
const PAGE: u32 = 1_000;

/// The reason for a failed command.
#[derive(Debug, thiserror::Error)]
pub enum PoisonedError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("{0:?} is neither the id of a poisoned claim nor `all`")]
    Id(String),
    #[error("the name after --by must have 1 to 64 characters")]
    Name,
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Prints the list, or acknowledges claims.
///
/// # Errors
/// Returns a [`PoisonedError`]. Repeating the command is safe.
pub async fn run(command: PoisonedCommand) -> Result<(), PoisonedError> {
    match command {
        PoisonedCommand::List { all, mysql } => {
            let db = open_db(&mysql)?;
            let mut after = 0;
            loop {
                let page = poisoned::page(&db, all, after, PAGE).await?;
                let Some(last) = page.last() else { break };
                after = last.id;
                page.iter().for_each(print);
            }
            let (acknowledged, open) = poisoned::counts(&db).await?;
            println!("{open} poisoned claims to acknowledge, {acknowledged} acknowledged");
        }
        PoisonedCommand::Acknowledge { claims, by, mysql } => {
            let by = by.trim();
            if !(1..=64).contains(&by.chars().count()) || by.chars().any(char::is_control) {
                return Err(PoisonedError::Name);
            }
            let all = claims.iter().any(|claim| claim == "all");
            let ids = if all { Vec::new() } else { parse(claims)? };
            let claims = if all { Acknowledged::All } else { Acknowledged::Ids(&ids) };
            let db = open_db(&mysql)?;
            println!("{} poisoned claims acknowledged by {by}", poisoned::acknowledge(&db, claims, by).await?);
        }
    }
    Ok(())
}

fn parse(claims: Vec<String>) -> Result<Vec<u64>, PoisonedError> {
    claims.into_iter().map(|claim| claim.parse().map_err(|_| PoisonedError::Id(claim))).collect()
}

fn print(claim: &PoisonedClaim) {
    let PoisonedClaim { id, entry, claim, reason, poisoned_at, acknowledged } = claim;
    let acknowledged = acknowledged.as_ref().map(|by| format!("; acknowledged by {by}")).unwrap_or_default();
    println!("{id}: claim {claim} of entry {entry}, {poisoned_at}: {reason}{acknowledged}");
}
