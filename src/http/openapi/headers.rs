//! What the headers of answers mean.

use utoipa::openapi::schema::Object;

use super::schemas::{one_of, string, whole_number};

/// What a claim can come to.
const RESULTS: [&str; 8] =
    ["claimed", "already-claimed", "sold-out", "no-such-coupon", "not-started", "ended", "not-on-sale", "try-again"];

/// As it is sent.
pub fn camel_case(name: &str) -> String {
    let word = |word: &str| word.chars().take(1).flat_map(char::to_uppercase).chain(word.chars().skip(1)).collect();
    name.split('-').map(word).collect::<Vec<String>>().join("-")
}

/// Its schema and a sentence.
///
/// # Panics
/// For a header that nobody has described: the document is made at each start, so a test sees it.
pub fn described(name: &str) -> (Object, &'static str) {
    match name {
        "Authorization" => (string(), "The token: send it back in this header with each request."),
        "Authsign" => (string(), "For the signed form of `/sec/kill`, where that is on: keep it secret."),
        "User-Id" => (whole_number("int64"), "The user's id, where the signed form is on."),
        "Claim-Result" => (one_of(&RESULTS), "What came of the attempt."),
        "Claim-Token" => (string(), "The signed proof of the claim, a JWT; always of the same claim."),
        "Retry-After" => (whole_number("int64"), "In how many seconds asking again makes sense."),
        "Www-Authenticate" => (string(), "What kind of token is wanted."),
        "Content-Disposition" => (string(), "A name for the file."),
        "Content-Security-Policy" => (string(), "What the page may load: nothing from elsewhere."),
        "X-Accel-Buffering" => (string(), "Tells a proxy to pass each event on."),
        "X-Content-Type-Options" => (string(), "`nosniff`."),
        "Referrer-Policy" => (string(), "`no-referrer`."),
        "X-Request-Id" => (string(), "As it was sent, or a new one: for finding the request in logs."),
        other => panic!("the header {other} is not described"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_they_are_sent() {
        assert_eq!(camel_case("claim-result"), "Claim-Result");
        assert_eq!(camel_case("authsign"), "Authsign");
    }
}
