//! Joins an error and its causes into a single line for the log or the terminal.

pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    for cause in std::iter::successors(error.source(), |&cause| cause.source()) {
        let more = cause.to_string();
        // Some libraries repeat the cause in their own text.
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
    }
    text
}
