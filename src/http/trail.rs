//! Makes an entry of the audit trail from a request and its answer.

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::Next;
use actix_web::{HttpMessage, web};

use super::extractors::{Sender, sender};
use super::finish::{REQUEST_ID, request_id};
use super::peer;
use super::state::{Edge, Operating};
use crate::admission::Class;
use crate::base::now_ms;
use crate::domain::{Kind, TrailEntry};

/// The user whom a login or registration is about. The handler puts the value into the extensions of the request.
pub struct NamedUser {
    pub name: String,
    pub kind: Kind,
}

/// The name or the id of what a request has created. The trail adds the text to the path.
pub struct Created(pub String);

/// The sender of a request, as the trail names him.
struct Actor {
    name: String,
    kind: &'static str,
}

impl Actor {
    fn of(sender: &Sender) -> Self {
        let kind = match sender {
            Sender::User(session) => session.user.kind.as_str(),
            Sender::Key(_) => "key",
        };
        Self { name: sender.name(), kind }
    }
}

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
    let sender = sender(request.request()).ok();
    let actor = sender.as_ref().map(Actor::of);
    sender.map(|sender| request.extensions_mut().insert(sender));
    let id = request_id(request.headers());
    let mut response = next.call(request).await?;
    let request = response.request();
    let (Some(edge), Some(operating)) =
        (request.app_data::<web::Data<Edge>>(), request.app_data::<web::Data<Operating>>())
    else {
        return Ok(response);
    };
    // A logout without a session does nothing, and anybody may send any number.
    if class == Class::Logout && actor.is_none() {
        response.headers_mut().insert(REQUEST_ID, id);
        return Ok(response);
    }
    // A guess at a name is about the name, whatever session the guesser has.
    let named = request.extensions_mut().remove::<NamedUser>();
    let actor = actor.filter(|_| named.is_none());
    let is_customers = named.as_ref().is_some_and(|named| named.kind == Kind::Customer);
    // A million customers may log in before a sale.
    let is_change = response.status().is_success() && !is_customers;
    let name = match (&named, &actor) {
        (Some(named), _) => &named.name,
        (None, Some(actor)) => actor.name.as_str(),
        (None, None) => "",
    };
    let created = request.extensions_mut().remove::<Created>();
    let object = created.map_or_else(|| request.path().to_owned(), |Created(id)| format!("{}/{id}", request.path()));
    let entry = TrailEntry {
        at_ms: now_ms(),
        actor: TrailEntry::actor_of(name),
        kind: actor.as_ref().map_or("", |actor| actor.kind),
        event,
        object: TrailEntry::object_of(&object),
        address: peer::address(request, edge),
        request_id: id.to_str().unwrap_or_default().to_owned(),
        status: response.status().as_u16(),
        repeated: 0,
    };
    if is_change {
        operating.trail.note_change(entry);
    } else {
        operating.trail.note_other(entry);
    }
    response.headers_mut().insert(REQUEST_ID, id);
    Ok(response)
}
