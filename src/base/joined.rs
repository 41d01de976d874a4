//! Joins calls of several tasks into one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

type Questions<Q, A, E> = Vec<(Q, oneshot::Sender<Result<A, Arc<E>>>)>;

/// Questions `Q` of several tasks, sent together. Every task gets its own answer `A`, or a shared error `E`.
pub struct Joined<Q, A, E> {
    waiting: Mutex<Questions<Q, A, E>>,
}

impl<Q, A, E> Default for Joined<Q, A, E> {
    fn default() -> Self {
        Self { waiting: Mutex::default() }
    }
}

impl<Q, A, E> Joined<Q, A, E>
where
    Q: Send + 'static,
    A: Send + 'static,
    E: Send + Sync + 'static,
{
    /// Asks `question`. Waits `gather` for questions of other tasks, then calls `send` of the first task once. `send` returns the
    /// answers in the order of the questions. Every question was asked before the call. `None` if the runtime ends.
    pub async fn ask<F>(
        self: &Arc<Self>,
        question: Q,
        gather: Duration,
        send: impl FnOnce(Vec<Q>) -> F + Send + 'static,
    ) -> Option<Result<A, Arc<E>>>
    where
        F: Future<Output = Result<Vec<A>, E>> + Send,
    {
        let (sender, answer) = oneshot::channel();
        let is_first = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.push((question, sender));
            waiting.len() == 1
        };
        if is_first {
            let joined = Arc::clone(self);
            // In a new task, because the other tasks need the answers even if the first task is dropped.
            tokio::spawn(async move {
                tokio::time::sleep(gather).await;
                let waiting = std::mem::take(&mut *joined.waiting.lock().unwrap_or_else(PoisonError::into_inner));
                let (questions, senders): (Vec<_>, Vec<_>) = waiting.into_iter().unzip();
                let answers: Vec<Result<A, Arc<E>>> = match send(questions).await {
                    Ok(answers) => answers.into_iter().map(Ok).collect(),
                    Err(error) => {
                        let error = Arc::new(error);
                        senders.iter().map(|_| Err(Arc::clone(&error))).collect()
                    }
                };
                for (sender, answer) in senders.into_iter().zip(answers) {
                    // The receiver may have been dropped.
                    let _ = sender.send(answer);
                }
            });
        }
        answer.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const GATHER: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn askers_of_one_moment_share_a_call_and_each_gets_its_own_answer() {
        let (joined, calls) = (Arc::new(Joined::<u32, u32, ()>::default()), Arc::new(AtomicUsize::new(0)));
        let ask = |question| {
            let calls = Arc::clone(&calls);
            joined.ask(question, GATHER, move |questions| async move {
                calls.fetch_add(1, Ordering::Relaxed);
                Ok(questions.into_iter().map(|question| 10 * question).collect())
            })
        };
        let answers = tokio::join!(ask(1), ask(2), ask(3));
        assert_eq!(answers, (Some(Ok(10)), Some(Ok(20)), Some(Ok(30))));
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        assert_eq!(ask(4).await, Some(Ok(40)), "a later question is a call of its own");
        assert_eq!(calls.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn all_askers_get_the_error_and_one_that_goes_away_harms_nobody() {
        let joined = Arc::new(Joined::<u32, u32, &str>::default());
        let ask = |question| joined.ask(question, GATHER, |_| async { Err("no") });
        let first = tokio::time::timeout(Duration::from_millis(1), ask(1));
        let (first, second) = tokio::join!(first, ask(2));
        assert!(first.is_err(), "the first asker has gone");
        assert_eq!(second, Some(Err(Arc::new("no"))));
    }
}
