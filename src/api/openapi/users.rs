//! What is said of registering, logging in and out.

use actix_web::HttpResponse;
use actix_web::http::header;
use serde_json::json;
use utoipa::openapi::path::Operation;

use super::operation::{Described, operation};
use crate::api::answer;
use crate::api::error::{ApiError, Code};
use crate::api::users::{LoggedIn, LoggedOut, Login, PasswordChange, Registration};
use crate::gate::TurnedAway;

pub const TAG: &str = "Users";
/// What a token looks like.
pub const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl";

pub fn register() -> Operation {
    operation("register", TAG, "Register a user")
        .body::<Registration>(json!({"username": "ann", "password": "correct horse", "kind": "customer"}))
        .answers_with::<answer::Done>("The user exists now.", answer::done(HttpResponse::Created()))
        .fails([
            ApiError::not_json(),
            ApiError::bad_field("username", "User name too short."),
            ApiError::bad_field("username", "User name too long."),
            ApiError::bad_field("username", "User name has characters that are not allowed."),
            ApiError::bad_field("password", "Password too short."),
            ApiError::bad_field("password", "Password too long."),
            ApiError::bad_field("kind", "Empty field of kind."),
            ApiError::new(Code::NameTaken, "Insert user failed. Maybe user name duplicates.").with_field("username"),
            TurnedAway::Blocked.into(),
            TurnedAway::TooFast { wait_seconds: 30 }.into(),
            TurnedAway::Off.into(),
        ])
        .waits_for_mysql()
        .build()
}

pub fn log_in() -> Operation {
    let mut ok = HttpResponse::Ok();
    ok.insert_header((header::AUTHORIZATION, JWT));
    ok.insert_header(("authsign", "900150983cd24fb0d6963f7d28e17f72"));
    ok.insert_header(("user-id", "7"));
    let ok = answer::json(ok, &LoggedIn::as_kind("customer"));
    let errors = [
        ApiError::bad_request("Parse JSON format fail."),
        ApiError::new(Code::WrongPassword, "Wrong user name or password."),
        TurnedAway::Blocked.into(),
        TurnedAway::TooFast { wait_seconds: 30 }.into(),
        TurnedAway::Off.into(),
        ApiError::overloaded(),
        ApiError::unavailable(),
        ApiError::unknown_outcome(),
    ];
    let about = "The token comes in the header `Authorization`. One answer, and the same time, for an unknown user and a \
                 wrong password.";
    let described = operation("logIn", TAG, "Log in").about(about);
    let described = described.body::<Login>(json!({"username": "ann", "password": "correct horse"}));
    let described = described.answers_with::<LoggedIn>("Logged in.", ok);
    errors.into_iter().fold(described, |described, error| described.failed(&error, error.login_response())).build()
}

pub fn log_out() -> Operation {
    let about = "The token that is sent stops working on every instance within a second. Without one nothing happens.";
    operation("logOut", TAG, "Log out")
        .about(about)
        .with_optional_token()
        .answers_with::<LoggedOut>("Logged out.", answer::json(HttpResponse::Ok(), &LoggedOut::default()))
        .fails([ApiError::overloaded()])
        .waits_for_mysql()
        .build()
}

pub fn change_password() -> Operation {
    operation("changePassword", TAG, "Change one's password")
        .about("Tokens that were given out before stop working.")
        .with_token()
        .path("user", "One's own name.", "ann")
        .body::<PasswordChange>(json!({"old": "correct horse", "new": "battery staple"}))
        .answers_with::<answer::Done>("The new password counts.", answer::done(HttpResponse::Ok()))
        .fails([
            ApiError::not_json(),
            ApiError::bad_field("new", "Password too short."),
            ApiError::bad_field("new", "Password too long."),
            ApiError::new(Code::WrongPassword, "Wrong password.").with_field("old"),
            ApiError::new(Code::NotYours, "Cannot change other users' passwords."),
        ])
        .waits_for_mysql()
        .build()
}

impl Described {
    /// What a change of MySQL, or a password's hash, can come to besides.
    pub fn waits_for_mysql(self) -> Self {
        self.fails([ApiError::overloaded(), ApiError::unavailable(), ApiError::unknown_outcome()])
    }
}
