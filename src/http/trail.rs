//! Makes an entry of the audit trail from a request and its answer.

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::Next;
use actix_web::{HttpMessage, web};

use super::extractors::session;
use super::finish::{REQUEST_ID, request_id};
use super::peer;
use super::state::{Edge, Operating};
use crate::admission::Class;
use crate::base::now_ms;
use crate::domain::TrailEntry;

/// The name of the user whom a login or registration is about. The handler puts the name into the extensions of the request.
pub struct NamedUser(pub String);

/// Whether the audit trail has requests of a class with this method.
pub fn is_noted(class: Class, method: &Method) -> bool {
    match class {
        Class::Write | Class::Redeem | Class::Logout | Class::Account | Class::Export => true,
        Class::Operator => !method.is_safe(),
        // Claims are in `claims`.
        Class::Claim | Class::Glance | Class::Read | Class::Stream | Class::Free => false,
    }
}

/// Passes a request on, and keeps an entry about its answer. `event` is the operation.
pub async fn note(
    class: Class,
    event: String,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse, actix_web::Error> {
    if !is_noted(class, request.method()) {
        return next.call(request).await;
    }
    // For the handler.
    let session = session(request.request()).ok();
    let user = session.as_ref().map(|session| session.user.clone());
    session.map(|session| request.extensions_mut().insert(session));
    let id = request_id(request.headers());
    let mut response = next.call(request).await?;
    let request = response.request();
    let (Some(edge), Some(operating)) =
        (request.app_data::<web::Data<Edge>>(), request.app_data::<web::Data<Operating>>())
    else {
        return Ok(response);
    };
    let named = request.extensions_mut().remove::<NamedUser>();
    let entry = TrailEntry {
        at_ms: now_ms(),
        kind: user.as_ref().map(|user| user.kind),
        actor: TrailEntry::actor_of(
            user.as_ref().map_or_else(|| named.as_ref().map_or("", |NamedUser(name)| name), |user| user.name.as_str()),
        ),
        event,
        object: TrailEntry::object_of(request.path()),
        address: peer::address(request, edge),
        request_id: id.to_str().unwrap_or_default().to_owned(),
        status: response.status().as_u16(),
        repeated: 0,
    };
    let is_change = response.status().is_success() && class != Class::Account;
    if is_change {
        operating.trail.note_change(entry)
    } else {
        operating.trail.note_other(entry)
    }
    response.headers_mut().insert(REQUEST_ID, id);
    Ok(response)
}
