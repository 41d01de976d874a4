//! Callers who ask the same about a password at the same time share a place in line and a hash.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Mutex as AsyncMutex;

/// The hash of name, stored form and password.
pub(super) type QuestionKey = [u8; 16];

/// Callers who hold the lock look for the answer, all others wait for the lock. `None` until a caller has the answer.
pub(super) type SharedAnswer = AsyncMutex<Option<bool>>;

/// The questions that are being answered.
pub(super) struct SharedQuestions {
    open: Mutex<OpenQuestions>,
    sharing_max: usize,
}

#[derive(Default)]
struct OpenQuestions {
    answers: HashMap<QuestionKey, Arc<SharedAnswer>>,
    /// Callers who joined a question of another caller.
    sharing: usize,
}

/// A caller's part in a question. The last one who leaves takes the answer along, so a later caller asks anew.
pub(super) struct SharedQuestion<'a> {
    questions: &'a SharedQuestions,
    key: QuestionKey,
    pub(super) answer: Arc<SharedAnswer>,
    is_sharing: bool,
}

impl SharedQuestions {
    /// At most `sharing_max` callers share the question of another caller.
    pub(super) fn new(sharing_max: usize) -> Self {
        Self { open: Mutex::default(), sharing_max }
    }

    /// Joins a question, or begins it. `None` if too many callers share questions.
    pub(super) fn join(&self, key: QuestionKey) -> Option<SharedQuestion<'_>> {
        let mut open = self.open();
        let shared = open.answers.get(&key).cloned();
        let is_sharing = shared.is_some();
        if is_sharing && open.sharing >= self.sharing_max {
            return None;
        }
        open.sharing += usize::from(is_sharing);
        let answer = shared.unwrap_or_default();
        open.answers.entry(key).or_insert_with(|| Arc::clone(&answer));
        Some(SharedQuestion { questions: self, key, answer, is_sharing })
    }

    /// Callers who share the question of another caller now.
    pub(super) fn sharing(&self) -> usize {
        self.open().sharing
    }

    /// A poisoned lock is used anyway: every single change leaves the map consistent.
    fn open(&self) -> MutexGuard<'_, OpenQuestions> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SharedQuestion<'_> {
    fn drop(&mut self) {
        let mut open = self.questions.open();
        open.sharing -= usize::from(self.is_sharing);
        // The map and this caller.
        if Arc::strong_count(&self.answer) <= 2 {
            open.answers.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_ends_with_its_last_caller_and_few_share_it() {
        let questions = SharedQuestions::new(1);
        let first = questions.join([1; 16]).expect("a new question");
        let second = questions.join([1; 16]).expect("one may share");
        assert!(Arc::ptr_eq(&first.answer, &second.answer));
        assert!(questions.join([1; 16]).is_none(), "and no more");
        let other = questions.join([2; 16]).expect("another question");
        assert_eq!(questions.sharing(), 1);
        drop(first);
        *second.answer.try_lock().expect("nobody has it") = Some(true);
        drop((second, other));
        assert_eq!((questions.sharing(), questions.open().answers.len()), (0, 0));
        let later = questions.join([1; 16]).expect("a new question");
        assert_eq!(*later.answer.try_lock().expect("nobody has it"), None);
    }
}
