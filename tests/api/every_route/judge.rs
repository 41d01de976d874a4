//! Whether an answer is one that the wire contract knows.

use serde_json::Value;

use super::generate::Case;
use crate::helpers::RawAnswer;

/// # Errors
/// What is wrong with the answer.
pub fn judge(case: &Case, answer: &RawAnswer) -> Result<(), String> {
    let status = answer.status();
    let is_head = case.method == "HEAD";
    match status {
        0 => Err("no answer".to_owned()),
        503 if case.path.starts_with("/readyz") => Ok(()),
        503 => is_documented(answer, is_head),
        200..400 => Ok(()),
        400..500 if answer.body().is_empty() => {
            // The framework answers what it cannot parse, without a body.
            let bare = is_head || (status == 400 && case.unparsable);
            if bare { Ok(()) } else { Err(format!("a bare {status}")) }
        }
        400..500 => is_refusal(answer).map(drop),
        _ => Err(format!("the status {status}")),
    }
}

/// The code of an error, in the words of whichever interface the path belongs to.
fn is_refusal(answer: &RawAnswer) -> Result<String, String> {
    let body: Value = serde_json::from_str(answer.body()).map_err(|_| "an error without JSON".to_owned())?;
    let is_field = body["field"].is_string() || body["field"].is_null();
    match (&body["errMsg"], &body["msg"], &body["code"]) {
        (Value::String(_), Value::Null, Value::String(code)) if is_field => Ok(code.clone()),
        (Value::Null, Value::String(_), Value::Number(code)) if body["field"].is_null() => Ok(code.to_string()),
        _ => Err("an error without a sentence and a code".to_owned()),
    }
}

/// A 503 says when to come back, and whether anything may have happened.
fn is_documented(answer: &RawAnswer, is_head: bool) -> Result<(), String> {
    let seconds = answer.header("Retry-After").and_then(|seconds| seconds.parse::<u32>().ok());
    if seconds.is_none_or(|seconds| seconds == 0) {
        return Err("a 503 without Retry-After".to_owned());
    }
    if is_head {
        return Ok(());
    }
    let code = is_refusal(answer)?;
    let known = ["overloaded", "unavailable", "unknown-outcome", "1008", "1009"].contains(&code.as_str());
    if known { Ok(()) } else { Err(format!("a 503 of code {code}")) }
}
