//! The owners of rows in the Go system's table `coupons`, found by username.

use std::collections::HashMap;

use super::{Import, ImportError};
use crate::domain::{Kind, UserId};
use crate::mysql::import::source::{self, SourceCoupon};
use crate::mysql::import::users;

/// The owner of a row of `coupons`. The kind of owner decides the meaning of the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Customer(UserId),
    Saler(UserId),
    RefusedCustomer,
    /// A saler, or a user of a kind unknown to the Go system as well.
    RefusedSaler,
    Nobody,
}

impl Owner {
    /// Whether the row is an offered coupon. Otherwise the row is a claim.
    pub(super) const fn offers(self) -> bool {
        match self {
            Self::Saler(_) | Self::RefusedSaler => true,
            Self::Customer(_) | Self::RefusedCustomer | Self::Nobody => false,
        }
    }
}

/// The owners of a page of rows, by username as written in the row.
pub(super) struct Owners(HashMap<String, Owner>);

impl Owners {
    pub(super) fn of(&self, row: &SourceCoupon) -> Owner {
        row.username.as_deref().and_then(|name| self.0.get(name)).copied().unwrap_or(Owner::Nobody)
    }
}

impl Import<'_> {
    /// Finds the owners of a page of rows. Most usernames match an imported user exactly. For the remaining ones the Go
    /// system's server is asked, with one query per username.
    pub(super) async fn find_owners(&self, rows: &[SourceCoupon]) -> Result<Owners, ImportError> {
        let names = rows.iter().filter_map(|row| row.username.as_deref());
        let found = users::find_by_names(self.db, self.source, names.clone()).await.map_err(ImportError::Target)?;
        let mut owners: HashMap<String, Owner> =
            found.into_iter().map(|(name, (user, kind))| (name, owner(user, kind))).collect();
        for name in names {
            if !owners.contains_key(name) {
                owners.insert(name.to_owned(), self.find_owner(name).await?);
            }
        }
        Ok(Owners(owners))
    }

    async fn find_owner(&self, name: &str) -> Result<Owner, ImportError> {
        let Some(row) = source::find_user(self.from, name).await.map_err(ImportError::Source)? else {
            return Ok(Owner::Nobody);
        };
        let user = users::find_by_row(self.db, self.source, row.id()).await.map_err(ImportError::Target)?;
        Ok(match (user, row.kind.as_deref().and_then(Kind::parse)) {
            (Some((user, kind)), _) => owner(user, kind),
            (None, Some(Kind::Customer)) => Owner::RefusedCustomer,
            (None, Some(Kind::Saler | Kind::Staff | Kind::Admin) | None) => Owner::RefusedSaler,
        })
    }
}

fn owner(user: UserId, kind: Kind) -> Owner {
    match kind {
        Kind::Customer => Owner::Customer(user),
        Kind::Saler | Kind::Staff | Kind::Admin => Owner::Saler(user),
    }
}
