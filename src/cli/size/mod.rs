//! `couponrush size`: how many servers a sale needs, and which part of them breaks first.

mod costs;
mod plan;
mod text;

use std::io;
use std::path::PathBuf;

use crate::config::SizeArgs;
use plan::{PlannedSale, SalePlan, SizeError};

/// The reason for a failed command.
#[derive(Debug, thiserror::Error)]
pub enum SizingError {
    #[error(transparent)]
    Numbers(#[from] SizeError),
    #[error("the file of costs {} could not be read", .0.display())]
    File(PathBuf, #[source] io::Error),
    #[error("{} is no file of costs, as scripts/cost writes it", .0.display())]
    Costs(PathBuf, #[source] serde_json::Error),
}

/// Prints the plan for a sale. Needs no server.
///
/// # Errors
/// Returns a [`SizingError`].
pub fn run(args: &SizeArgs) -> Result<(), SizingError> {
    let costs = match &args.costs {
        None => costs::MEASURED,
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| SizingError::File(path.clone(), error))?;
            costs::parse(&text).map_err(|error| SizingError::Costs(path.clone(), error))?
        }
    };
    let sale = PlannedSale::new(args.attempts_per_second, args.claims, args.users, args.coupons)?;
    print!("{}", text::report(&sale, &SalePlan::of(&sale, &costs)));
    Ok(())
}
