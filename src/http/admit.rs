//! Admission of a request by the class of its route, before the handler runs.

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, HttpRequest, web};

use super::extractors::session;
use super::state::Edge;
use super::{body, peer};
use crate::admission::{Class, TurnedAway};
use crate::base::now_ms;
use crate::domain::Kind;

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
    let session = if class.counts_users() { session(request).ok() } else { None };
    let user = session.as_ref().map(|session| &session.user);
    if user.is_none_or(|user| user.kind != Kind::Admin) {
        edge.admission.enter(class, user.map(|user| user.id), peer::address(request, edge), now_ms())?;
    }
    // The handler takes the session out again. So a token is verified once.
    session.map(|session| request.extensions_mut().insert(session));
    Ok(())
}
