//! The sender of a request to claim, as the conditions of an activity see him.

use actix_web::HttpRequest;

use super::peer;
use super::state::{Accounts, Edge};
use crate::claim::Applicant;
use crate::domain::{ActivityId, Network, TicketRule, UserId};

const CLAIM_TICKET: &str = "claim-ticket";

pub struct Claimant<'a> {
    request: &'a HttpRequest,
    edge: &'a Edge,
    accounts: &'a Accounts,
    customer: UserId,
    /// A ticket in the body.
    sent: Option<&'a str>,
}

impl<'a> Claimant<'a> {
    /// `sent` is a ticket in the body, or `None` for one in the header `Claim-Ticket`.
    pub const fn new(
        request: &'a HttpRequest,
        edge: &'a Edge,
        accounts: &'a Accounts,
        customer: UserId,
        sent: Option<&'a str>,
    ) -> Self {
        Self { request, edge, accounts, customer, sent }
    }
}

impl Applicant for Claimant<'_> {
    fn network(&self) -> Option<Network> {
        let address = peer::address(self.request, self.edge);
        self.edge.admission.settings.limits().counts(address).then(|| address.claiming_network())
    }

    fn has_ticket(&self, rule: TicketRule, activity: ActivityId, now_ms: u64) -> bool {
        let header = || self.request.headers().get(CLAIM_TICKET)?.to_str().ok();
        let ticket = self.sent.or_else(header);
        let admits = |ticket| self.accounts.tickets.admits(rule, ticket, self.customer, activity, now_ms / 1_000);
        ticket.is_some_and(admits)
    }
}
