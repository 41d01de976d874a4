use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redis::RedisConnectionInfo;
use redis::aio::MultiplexedConnection;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::*;
use crate::base::Histogram;
use crate::domain::{CouponId, Epoch, UserId};
use crate::redis::calls::{Server, in_time};
use crate::redis::crate_settings::crate_settings;
use crate::redis::{Keys, Live, Script};

const PATIENCE: Duration = Duration::from_secs(10);

/// A batcher, and the server's end of the connection.
struct Rig {
    attempts: mpsc::Sender<WaitingAttempt>,
    server: DuplexStream,
    tasks: JoinSet<()>,
}

impl Rig {
    async fn start() -> Self {
        let (near, server) = duplex(1 << 20);
        let settings = RedisConnectionInfo::default().set_skip_set_lib_name();
        let connected = MultiplexedConnection::new_with_config(&settings, near, crate_settings()).await;
        let (redis, driver) = connected.expect("nothing is sent yet");
        let (ended, mut tasks) = (CancellationToken::new(), JoinSet::new());
        let ends = ended.clone().drop_guard();
        tasks.spawn(async move {
            let _ends = ends;
            driver.await;
        });
        let calls = Calls::new(redis, Arc::new(Server::new(&Arc::new(Histogram::of_times()))), ended.clone());
        let (attempts, waiting) = mpsc::channel(ATTEMPTS_WAITING_MAX);
        tasks.spawn(run_batcher(calls, waiting, ended));
        Self { attempts, server, tasks }
    }

    /// Puts an attempt into the channel. Returns the receiver of the answer.
    fn attempt(&self, arguments: ClaimArguments) -> oneshot::Receiver<Result<String, KvError>> {
        let (answer, answered) = oneshot::channel();
        self.attempts.try_send(WaitingAttempt { arguments, answer }).expect("there is room");
        answered
    }

    /// Reads the arguments of the next call.
    async fn receive(&mut self) -> Vec<String> {
        let count = self.read_number(b'*').await;
        let mut arguments = Vec::new();
        for _ in 0..count {
            let length = self.read_number(b'$').await;
            let mut text = vec![0; length + 2];
            soon(self.server.read_exact(&mut text)).await.expect("the argument comes whole");
            text.truncate(length);
            arguments.push(String::from_utf8(text).expect("UTF-8"));
        }
        arguments
    }

    async fn read_number(&mut self, kind: u8) -> usize {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(soon(self.server.read_u8()).await.expect("a call comes"));
        }
        assert_eq!(line[0], kind);
        String::from_utf8_lossy(&line[1..line.len() - 2]).parse().expect("a number")
    }

    async fn reply(&mut self, bytes: &str) {
        self.server.write_all(bytes.as_bytes()).await.expect("the driver reads");
    }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("within the deadline")
}

async fn answer(answered: oneshot::Receiver<Result<String, KvError>>) -> Result<String, KvError> {
    soon(answered).await.expect("every attempt gets an answer")
}

/// An attempt of `user` at a coupon, under a loading of the shard.
fn arguments(coupon: u64, user: u64, epoch: u32) -> ClaimArguments {
    ClaimArguments {
        keys: Keys::new("cr:", crate::domain::ShardId::FIRST),
        live: Live::new("run", Epoch(epoch)).shared_text(),
        epoch: Epoch(epoch),
        outbox_max: 1_000,
        not_after: 90 + user,
        user: UserId(user),
        question: ClaimQuestion { coupon: CouponId(coupon), nth: 0, activity_revision: 0, activity: None },
    }
}

#[tokio::test]
async fn attempts_of_one_moment_are_one_call_that_writes_each_question_once() {
    let mut rig = Rig::start().await;
    let waiting = [(7, 1), (8, 2), (7, 3)].map(|(coupon, user)| rig.attempt(arguments(coupon, user, 2)));
    let call = rig.receive().await;
    let keys = ["live", "outbox", "waiting", "coupon:7", "holes:7", "coupon:8", "holes:8"];
    let holders = ["holder:1", "holder:2", "holder:3"];
    let keys: Vec<String> = keys.iter().chain(&holders).map(|key| format!("cr:{{s0}}:{key}")).collect();
    assert_eq!((call[0].as_str(), call[2].as_str()), ("EVALSHA", "10"));
    assert_eq!(call[3..13], keys);
    let questions = ["7", "0", "0", "0", "8", "0", "0", "0"];
    assert_eq!(call[13..], [&["run:2", "2", "1000", "91", "2", "ABA"], &questions[..], &["1", "2", "3"]].concat());
    // Every attempt has a separate reply. An error belongs to a single attempt.
    rig.reply("*3\r\n$4\r\nnone\r\n-OOM no memory\r\n$3\r\none\r\n").await;
    let [first, second, third] = waiting;
    assert_eq!(answer(first).await.ok().as_deref(), Some("none"));
    assert!(answer(second).await.is_err_and(|error| error.nothing_happened()));
    assert_eq!(answer(third).await.ok().as_deref(), Some("one"));
}

#[tokio::test]
async fn attempts_under_two_loadings_and_more_than_a_call_takes_are_several_calls() {
    let mut rig = Rig::start().await;
    let waiting: Vec<_> = (0..3).map(|user| rig.attempt(arguments(7, user, 2))).collect();
    let other = rig.attempt(arguments(7, 9, 3));
    let many: Vec<_> = (0..=BATCH_ATTEMPTS_MAX as u64).map(|user| rig.attempt(arguments(7, user, 3))).collect();
    let mut letters = Vec::new();
    while letters.iter().map(String::len).sum::<usize>() < 3 + 1 + many.len() {
        let call = rig.receive().await;
        let keys: usize = call[2].parse().expect("a number");
        letters.push(call[3 + keys + 5].clone());
        let attempts = letters[letters.len() - 1].len();
        rig.reply(&format!("*{attempts}\r\n{}", "$2\r\nno\r\n".repeat(attempts))).await;
    }
    assert_eq!(letters[0].len(), 3);
    assert!(letters.iter().all(|letters| letters.len() <= BATCH_ATTEMPTS_MAX));
    for attempt in waiting.into_iter().chain([other]).chain(many) {
        assert_eq!(answer(attempt).await.ok().as_deref(), Some("no"));
    }
}

#[tokio::test]
async fn an_attempt_whose_caller_has_gone_is_not_sent_and_leaves_its_reply_to_nobody_else() {
    let mut rig = Rig::start().await;
    let (gone, stays) = (rig.attempt(arguments(7, 1, 2)), rig.attempt(arguments(7, 2, 2)));
    drop(gone);
    let call = rig.receive().await;
    assert_eq!(call.last().map(String::as_str), Some("2"));
    assert!(!call.contains(&"cr:{s0}:holder:1".to_owned()));
    rig.reply("*1\r\n$4\r\nmine\r\n").await;
    assert_eq!(answer(stays).await.ok().as_deref(), Some("mine"));
    // This caller gives up after the batch was sent.
    let (gone, stays) = (rig.attempt(arguments(7, 1, 2)), rig.attempt(arguments(7, 2, 2)));
    rig.receive().await;
    drop(gone);
    rig.reply("*2\r\n$4\r\nlate\r\n$4\r\nmine\r\n").await;
    assert_eq!(answer(stays).await.ok().as_deref(), Some("mine"));
}

#[tokio::test]
async fn a_lost_connection_tells_sent_attempts_from_those_that_wait_for_a_batch() {
    let mut rig = Rig::start().await;
    let mut sent = Vec::new();
    for _ in 0..BATCHES_IN_FLIGHT_MAX {
        sent.push(rig.attempt(arguments(7, 1, 2)));
        rig.receive().await;
    }
    let waiting: Vec<_> = (0..BATCH_ATTEMPTS_MAX * 2).map(|_| rig.attempt(arguments(7, 2, 2))).collect();
    drop(rig.server);
    for attempt in sent {
        let error = answer(attempt).await.expect_err("nobody answered");
        assert!(matches!(error, KvError::Lost) && !error.nothing_happened(), "{error}");
    }
    for attempt in waiting {
        let error = answer(attempt).await.expect_err("nobody asked");
        assert!(matches!(error, KvError::NotConnected) && error.nothing_happened(), "{error}");
    }
    while soon(rig.tasks.join_next()).await.is_some() {}
    let (sender, _) = oneshot::channel();
    let later = rig.attempts.try_send(WaitingAttempt { arguments: arguments(7, 1, 2), answer: sender });
    assert!(matches!(later, Err(mpsc::error::TrySendError::Closed(_))));
}

#[tokio::test]
async fn an_error_of_the_whole_call_is_every_attempts_own() {
    let mut rig = Rig::start().await;
    let waiting = [1, 2].map(|user| rig.attempt(arguments(7, user, 2)));
    rig.receive().await;
    rig.reply("-LOADING Redis is loading the dataset in memory\r\n").await;
    for attempt in waiting {
        assert!(matches!(answer(attempt).await, Err(KvError::Refused(_))));
    }
}

#[tokio::test]
async fn a_call_needs_a_reply_for_each_attempt() {
    let mut rig = Rig::start().await;
    for reply in ["*1\r\n$2\r\nno\r\n", "$2\r\nno\r\n", "*2\r\n:1\r\n$-1\r\n"] {
        let waiting = [1, 2].map(|user| rig.attempt(arguments(7, user, 2)));
        rig.receive().await;
        rig.reply(reply).await;
        for attempt in waiting {
            assert!(matches!(answer(attempt).await, Err(KvError::Unreadable)), "{reply:?}");
        }
    }
}

#[tokio::test]
async fn forgotten_scripts_are_loaded_once_and_the_batch_is_repeated() {
    let mut rig = Rig::start().await;
    let attempt = rig.attempt(arguments(7, 1, 2));
    let call = rig.receive().await;
    rig.reply("-NOSCRIPT No matching script.\r\n").await;
    for _ in Script::sources() {
        assert_eq!(rig.receive().await[..2], ["SCRIPT", "LOAD"]);
        rig.reply("$3\r\nsha\r\n").await;
    }
    assert_eq!(rig.receive().await, call);
    rig.reply("*1\r\n$8\r\nsold-out\r\n").await;
    assert_eq!(answer(attempt).await.ok().as_deref(), Some("sold-out"));
}

#[tokio::test]
async fn a_reply_that_is_read_after_its_deadline_does_not_count() {
    let mut rig = Rig::start().await;
    let answered = rig.attempt(arguments(7, 1, 2));
    rig.receive().await;
    rig.reply("*1\r\n$7\r\nclaimed\r\n").await;
    let wait = Duration::from_millis(20);
    let late = in_time(std::time::Instant::now() + wait, async {
        let reply = answer(answered).await;
        // Blocks the worker thread past the deadline.
        std::thread::sleep(wait * 2);
        reply
    });
    assert!(matches!(late.await, Err(KvError::TimedOut)));
}

#[tokio::test]
async fn many_attempts_that_come_while_batches_are_under_way_all_get_their_own_replies() {
    let mut rig = Rig::start().await;
    let waiting: Vec<_> = (0..500).map(|user| rig.attempt(arguments(user % 7, user, 2))).collect();
    let mut served = 0;
    while served < waiting.len() {
        let call = rig.receive().await;
        let keys: usize = call[2].parse().expect("a number");
        let attempts = call[3 + keys + 5].len();
        let replies: String =
            call[call.len() - attempts..].iter().map(|user| format!("${}\r\n{user}\r\n", user.len())).collect();
        rig.reply(&format!("*{attempts}\r\n{replies}")).await;
        served += attempts;
    }
    for (user, reply) in join_all(waiting.into_iter().map(answer)).await.into_iter().enumerate() {
        assert_eq!(reply.ok(), Some(user.to_string()));
    }
}
