//! Admission of a request by the class of its route, before the handler runs.

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, HttpRequest, web};

use super::extractors::{Sender, sender};
use super::state::Edge;
use super::{body, peer};
use crate::admission::{Class, TurnedAway};
use crate::base::now_ms;

/// Passes a request to the handler. A request over a limit of `class` is refused instead.
pub async fn admit(
    class: Class,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse, actix_web::Error> {
    match check(class, request.request()) {
        Ok(()) => next.call(request).await,
        Err(turned_away) => {
            let refusal = body::refusal(&request, turned_away.into());
            Ok(request.into_response(refusal))
        }
    }
}

/// Admins have no limits.
fn check(class: Class, request: &HttpRequest) -> Result<(), TurnedAway> {
    let edge = request.app_data::<web::Data<Edge>>().expect("every server of the program has this part");
    // Without a valid token, the handler answers 401 where a token is needed.
    let sender = if class.counts_users() { sender(request).ok() } else { None };
    if sender.as_ref().is_none_or(|sender| !sender.is_admin()) {
        let asker = sender.as_ref().map(Sender::asker);
        edge.admission.enter(class, asker, peer::address(request, edge), now_ms())?;
    }
    // The handler takes the sender out again. So a token is verified once.
    sender.map(|sender| request.extensions_mut().insert(sender));
    Ok(())
}
