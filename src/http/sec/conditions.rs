//! The conditions of an activity in requests and answers.

use serde::Serialize;
use utoipa::ToSchema;

use super::parameters::{Parameter, Parameters};
use crate::auth::Tickets;
use crate::domain::{Conditions, RegisteredBefore, TicketRule};
use crate::http::error::{ApiError, read_failed};
use crate::mysql::{Db, users};

/// The changes of conditions in a request. `None` means not sent.
pub struct ConditionChanges {
    registered: Option<Option<RegisteredBefore>>,
    network_winners: Option<u16>,
    ticket: Option<Option<TicketRule>>,
}

/// Conditions that are off are absent.
#[derive(Serialize, ToSchema)]
pub struct ShownConditions {
    /// Only users who registered before this time may claim. Seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    registered_before: Option<u64>,
    /// The number of winners that each network may have, by the count of each instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1, maximum = 1000)]
    network_winners: Option<u16>,
    /// A claim needs a ticket: 1 to 22 for proof of work with this number of bits (`/sec/ticket`), -1 for one that is given
    /// elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = -1, maximum = 22)]
    ticket: Option<i8>,
}

impl From<Conditions> for ShownConditions {
    fn from(Conditions { registered, network_winners, ticket }: Conditions) -> Self {
        Self {
            registered_before: registered.map(|registered| registered.seconds),
            network_winners: Some(network_winners).filter(|winners| *winners > 0),
            ticket: ticket.map(|rule| TicketRule::number(Some(rule))),
        }
    }
}

impl ConditionChanges {
    /// Parses the sent conditions, and finds the last user of `registered_before`. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// 400 for a value out of range, 503 if MySQL cannot be read.
    pub async fn parse(sent: &Parameters, tickets: &Tickets, db: &Db, now: u64) -> Result<Self, ApiError> {
        let registered = match sent.optional("registered_before")? {
            Some(sent) => Some(registered_before(&sent, db, now).await?),
            None => None,
        };
        let winners = sent.optional("network_winners")?;
        Ok(Self {
            registered,
            network_winners: winners.map(|sent| sent.number(0..=Conditions::NETWORK_WINNERS_MAX)).transpose()?,
            ticket: sent.optional("ticket")?.map(|sent| rule(&sent, tickets)).transpose()?,
        })
    }

    pub const fn is_nothing(&self) -> bool {
        self.registered.is_none() && self.network_winners.is_none() && self.ticket.is_none()
    }

    /// The current conditions with the sent ones applied.
    pub fn over(&self, current: &Conditions) -> Conditions {
        Conditions {
            registered: self.registered.unwrap_or(current.registered),
            network_winners: self.network_winners.unwrap_or(current.network_winners),
            ticket: self.ticket.unwrap_or(current.ticket),
        }
    }
}

async fn registered_before(sent: &Parameter<'_>, db: &Db, now: u64) -> Result<Option<RegisteredBefore>, ApiError> {
    let seconds = sent.number(0..=u64::MAX)?;
    if seconds == 0 {
        return Ok(None);
    }
    if seconds > now {
        return Err(sent.wrong("it must not be in the future"));
    }
    let last_user = users::last_before(db, seconds).await.map_err(|error| read_failed(&error))?;
    Ok(Some(RegisteredBefore { seconds, last_user }))
}

fn rule(sent: &Parameter<'_>, tickets: &Tickets) -> Result<Option<TicketRule>, ApiError> {
    let number = sent.fraction()?;
    let rule = (-1..=22).find(|rule| f64::from(*rule) == number).and_then(TicketRule::from_number);
    match rule.ok_or_else(|| sent.wrong("it must be 0, 1 to 22 or -1"))? {
        Some(TicketRule::Signed) if !tickets.can_be_signed_elsewhere() => {
            Err(sent.wrong("tickets of another program are switched off"))
        }
        rule => Ok(rule),
    }
}
