//! Calls of one script that leave together as one.
//!
//! A script that takes any number of cases and replies with an array of one reply a case. What Redis does for a call besides
//! the case itself is then done once for many: under load that is more than half of its work. Cases that ask the same, each
//! for somebody else, have their question written once: every argument costs Redis a part of a microsecond.

use super::{Command, Script};

/// Cases of one call at most: Redis does nothing else meanwhile.
pub const CASES_MAX: usize = 32;

/// Of the first question; those of all that there may be are ASCII.
const FIRST_LETTER: u8 = b'A';

/// Tells one question of a script from another; equal ones are the same question.
pub type Question = [u64; 3];

/// One case of a script's call: what it has in common with all the others, what it asks, and what is its own. Each adds keys
/// and arguments. All that is in common comes first; then how many questions there are, and which of them each case asks, a letter
/// each from `A` on, as two arguments; then all questions; and then each case's own.
pub trait Case {
    const SCRIPT: Script;

    /// What it has in common with others; only cases with the same leave together. What else [`Case::write_common`] adds may
    /// be the first case's for all.
    fn common(&self) -> &str;
    fn write_common(&self, keys: &mut Command, arguments: &mut Command);

    fn question(&self) -> Question;
    fn write_question(&self, keys: &mut Command, arguments: &mut Command);

    fn write_own(&self, keys: &mut Command, arguments: &mut Command);
}

/// Keys, and the arguments beside them.
struct Part {
    keys: Command,
    arguments: Command,
}

/// A call that others may still join.
pub(super) struct Together {
    script: Script,
    common_is: String,
    /// The ticket of the first case.
    pub(super) first: u64,
    asked: Vec<Question>,
    /// The letter of the question that each case asks.
    letters: Vec<u8>,
    common: Part,
    questions: Part,
    own: Part,
}

impl Part {
    fn new() -> Self {
        Self { keys: Command::begin(0, &[]), arguments: Command::begin(0, &[]) }
    }
}

impl Together {
    /// A call for `case` and others like it, still without one.
    pub(super) fn new<C: Case>(case: &C, first: u64) -> Self {
        let mut common = Part::new();
        case.write_common(&mut common.keys, &mut common.arguments);
        let (common_is, asked, letters) = (case.common().to_owned(), Vec::new(), Vec::new());
        let (script, questions, own) = (C::SCRIPT, Part::new(), Part::new());
        Self { script, common_is, first, asked, letters, common, questions, own }
    }

    /// Whether one more case may join.
    pub(super) fn takes<C: Case>(&self, case: &C) -> bool {
        self.cases() < CASES_MAX && self.script == C::SCRIPT && self.common_is == case.common()
    }

    /// How many cases there are.
    pub(super) fn cases(&self) -> usize {
        self.letters.len()
    }

    /// Adds a case.
    pub(super) fn add(&mut self, case: &impl Case) {
        let question = case.question();
        let place = self.asked.iter().position(|asked| *asked == question).unwrap_or_else(|| {
            self.asked.push(question);
            case.write_question(&mut self.questions.keys, &mut self.questions.arguments);
            self.asked.len() - 1
        });
        self.letters.push(FIRST_LETTER + u8::try_from(place).expect("there are no more questions than cases"));
        case.write_own(&mut self.own.keys, &mut self.own.arguments);
    }

    /// Appends the whole call to `buffer`.
    pub(super) fn write_to(&self, buffer: &mut Vec<u8>) {
        let Self { common, questions, own, .. } = self;
        let mut asked = Command::begin(0, &[]);
        asked.arg(self.asked.len()).arg(self.letters.as_slice());
        self.script.write_call(
            &[&common.keys, &questions.keys, &own.keys],
            &[&common.arguments, &asked, &questions.arguments, &own.arguments],
            buffer,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Somebody who asks something of the script that claims.
    struct Asking(Question, &'static str);

    impl Case for Asking {
        const SCRIPT: Script = Script::Claim;

        fn common(&self) -> &str {
            "common"
        }

        fn write_common(&self, keys: &mut Command, arguments: &mut Command) {
            keys.arg("k-common");
            arguments.arg("a-common");
        }

        fn question(&self) -> Question {
            self.0
        }

        fn write_question(&self, keys: &mut Command, arguments: &mut Command) {
            keys.arg(format!("k-{:?}", self.0));
            arguments.arg(format!("a-{:?}", self.0));
        }

        fn write_own(&self, keys: &mut Command, arguments: &mut Command) {
            keys.arg(format!("k-{}", self.1));
            arguments.arg(format!("a-{}", self.1));
        }
    }

    #[test]
    fn what_is_asked_is_written_once_for_all_who_ask_it() {
        let (this, that) = ([1, 2, 3], [1, 2, 4]);
        let cases = [Asking(this, "ann"), Asking(that, "bob"), Asking(this, "cid")];
        let mut together = Together::new(&cases[0], 0);
        cases.iter().for_each(|case| together.add(case));
        let mut written = Vec::new();
        together.write_to(&mut written);

        let mut call = Script::Claim.call(&["k-common", "k-[1, 2, 3]", "k-[1, 2, 4]", "k-ann", "k-bob", "k-cid"]);
        call.arg(&["a-common", "2", "ABA", "a-[1, 2, 3]", "a-[1, 2, 4]", "a-ann", "a-bob", "a-cid"]);
        let mut expected = Vec::new();
        call.write_to(&mut expected);
        assert_eq!(String::from_utf8(written), String::from_utf8(expected));
    }
}
