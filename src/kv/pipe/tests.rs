use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::timeout;

use super::super::together::CASES_MAX;
use super::super::{Command, Question, Script};
use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

/// A pipe and its other end, which takes up to `bytes` that nobody has read.
fn pipe(bytes: usize) -> (Pipe, DuplexStream) {
    let (near, far) = duplex(bytes);
    (Pipe::new(near), far)
}

fn call<'a>(pipe: &'a Pipe, command: &[u8]) -> Replies<'a> {
    pipe.call(1, |buffer| buffer.extend_from_slice(command)).expect("there is room")
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("within the deadline")
}

async fn read(far: &mut DuplexStream, bytes: usize) -> Vec<u8> {
    let mut read = vec![0; bytes];
    soon(far.read_exact(&mut read)).await.expect("so much was sent");
    read
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn each_call_gets_its_own_reply_however_bytes_are_torn_and_whoever_went_away(
        texts in prop::collection::vec((1..4_usize, "[a-z]{0,30}", any::<bool>()), 1..40),
        room in 1..50_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let (pipe, far) = pipe(room);
            let (mut from, mut to) = tokio::io::split(far);
            let commands: usize = texts.iter().map(|(_, text, _)| text.len() + 1).sum();
            let answers: Vec<String> =
                texts.iter().map(|(count, text, _)| format!("*1\r\n${}\r\n{text}\r\n", text.len()).repeat(*count)).collect();
            let sent = answers.concat();
            tokio::spawn(async move {
                let mut asked = vec![0; commands];
                from.read_exact(&mut asked).await.expect("all commands come");
                to.write_all(sent.as_bytes()).await.expect("the pipe reads");
                std::future::pending::<()>().await;
            });
            let mut waiting = Vec::new();
            for ((count, text, goes_away), answer) in texts.iter().zip(&answers) {
                let pack = |buffer: &mut Vec<u8>| buffer.extend_from_slice(format!("{text}.").as_bytes());
                let replies = pipe.call(*count, pack).expect("there is room");
                if !goes_away {
                    waiting.push((replies, answer));
                }
            }
            for (replies, answer) in waiting {
                assert_eq!(soon(replies).await.expect("answered"), answer.as_bytes());
            }
        });
    }
}

#[tokio::test]
async fn commands_that_come_together_are_written_together_and_in_order() {
    let (pipe, mut far) = pipe(1_000);
    let calls = [call(&pipe, b"one"), call(&pipe, b"two"), call(&pipe, b"three")];
    assert_eq!(read(&mut far, 11).await, b"onetwothree");
    far.write_all(b"+1\r\n-2\r\n:3\r\n").await.expect("the pipe reads");
    let [one, two, three] = calls;
    // Whoever asks first: each has its own.
    assert_eq!(soon(three).await.expect("answered"), b":3\r\n");
    assert_eq!(soon(one).await.expect("answered"), b"+1\r\n");
    assert_eq!(soon(two).await.expect("answered"), b"-2\r\n");
}

#[tokio::test]
async fn who_goes_away_leaves_his_reply_to_nobody_else() {
    let (pipe, mut far) = pipe(1_000);
    let gone = call(&pipe, b"a");
    assert!(timeout(Duration::from_millis(10), gone).await.is_err());
    let stays = call(&pipe, b"b");
    assert_eq!(read(&mut far, 2).await, b"ab");
    far.write_all(b"+late\r\n+mine\r\n").await.expect("the pipe reads");
    assert_eq!(soon(stays).await.expect("answered"), b"+mine\r\n");
    // One who goes away with his reply already there.
    let gone = call(&pipe, b"c");
    read(&mut far, 1).await;
    far.write_all(b"+c\r\n").await.expect("the pipe reads");
    let stays = call(&pipe, b"d");
    read(&mut far, 1).await;
    far.write_all(b"+d\r\n").await.expect("the pipe reads");
    assert_eq!(soon(stays).await.expect("answered"), b"+d\r\n");
    drop(gone);
    assert!(pipe.queue.lock().calls.is_empty());
}

#[tokio::test]
async fn no_more_calls_wait_than_may_and_those_that_went_away_count() {
    let (pipe, mut far) = pipe(CALLS_WAITING_MAX * 8);
    let mut waiting: Vec<_> = (0..CALLS_WAITING_MAX).map(|_| call(&pipe, b"x")).collect();
    let packed_nothing = |_: &mut Vec<u8>| panic!("nothing may be packed");
    assert!(matches!(pipe.call(1, packed_nothing).err(), Some(KvError::Full)));
    waiting.drain(1..);
    assert!(matches!(pipe.call(1, packed_nothing).err(), Some(KvError::Full)));
    read(&mut far, CALLS_WAITING_MAX).await;
    far.write_all(&b":1\r\n".repeat(CALLS_WAITING_MAX)).await.expect("the pipe reads");
    assert_eq!(soon(waiting.remove(0)).await.expect("answered"), b":1\r\n");
    let next = call(&pipe, b"y");
    read(&mut far, 1).await;
    far.write_all(b":2\r\n").await.expect("the pipe reads");
    assert_eq!(soon(next).await.expect("answered"), b":2\r\n");
}

#[tokio::test]
async fn a_lost_connection_tells_what_was_sent_from_what_certainly_was_not() {
    let (pipe, mut far) = pipe(4);
    let (answered, torn, half_sent) = (call(&pipe, b"a"), call(&pipe, b"b"), call(&pipe, b"cccc"));
    let never_sent = call(&pipe, b"d");
    // There is room for four bytes: half of the third command.
    far.write_all(b":1\r\n").await.expect("the pipe reads");
    assert_eq!(soon(answered).await.expect("answered"), b":1\r\n");
    far.write_all(b"$3\r").await.expect("the pipe reads");
    drop(far);
    assert!(matches!(soon(torn).await, Err(KvError::Lost)));
    assert!(matches!(soon(half_sent).await, Err(KvError::Lost)));
    assert!(matches!(soon(never_sent).await, Err(KvError::NotConnected)));
    soon(pipe.ended()).await;
    assert!(matches!(pipe.call(1, |_| ()).err(), Some(KvError::NotConnected)));
}

#[tokio::test]
async fn what_is_no_reply_and_a_reply_too_many_end_the_connection() {
    for (calls, sent) in [(1, &b"HTTP/1.1 400\r\n"[..]), (1, b":1\r\n:2\r\n"), (0, b":1\r\n")] {
        let (pipe, mut far) = pipe(1_000);
        let waiting: Vec<_> = (0..calls).map(|_| call(&pipe, b"x")).collect();
        read(&mut far, calls).await;
        far.write_all(sent).await.expect("the pipe reads");
        let reason = soon(pipe.ended()).await;
        assert_ne!(reason.kind(), io::ErrorKind::UnexpectedEof, "{reason}");
        for call in waiting {
            // The first of two replies belongs to the call, whatever comes behind it.
            assert_eq!(soon(call).await.is_ok(), sent.starts_with(b":"));
        }
    }
}

#[tokio::test]
async fn a_reply_that_is_larger_than_any_buffer_passes() {
    let (pipe, mut far) = pipe(1 << 20);
    let text = vec![b'x'; 5 << 20];
    let large = call(&pipe, b"x");
    read(&mut far, 1).await;
    let head = format!("${}\r\n", text.len());
    let sending = async {
        for part in [head.as_bytes(), &text, b"\r\n"] {
            far.write_all(part).await.expect("the pipe reads");
        }
    };
    let (reply, ()) = tokio::join!(soon(large), sending);
    assert_eq!(reply.expect("answered").len(), head.len() + text.len() + 2);
}

#[tokio::test]
async fn dropping_the_pipe_closes_the_socket() {
    let (pipe, mut far) = pipe(1_000);
    drop(pipe);
    assert_eq!(soon(far.read(&mut [0; 1])).await.expect("closed in order"), 0);
}

/// A case of the script that claims; all ask the same.
struct Named<'a> {
    common: &'a str,
    name: &'a str,
}

impl Case for Named<'_> {
    const SCRIPT: Script = Script::Claim;

    fn common(&self) -> &str {
        self.common
    }

    fn write_common(&self, keys: &mut Command, arguments: &mut Command) {
        keys.arg("live");
        arguments.arg(self.common);
    }

    fn question(&self) -> Question {
        [7, 0, 0]
    }

    fn write_question(&self, keys: &mut Command, arguments: &mut Command) {
        keys.arg("asked");
        arguments.arg("what");
    }

    fn write_own(&self, keys: &mut Command, arguments: &mut Command) {
        keys.arg(format!("key-{}", self.name));
        arguments.arg(self.name);
    }
}

fn join<'a>(pipe: &'a Pipe, common: &str, name: &str) -> Replies<'a> {
    pipe.join(&Named { common, name }).expect("there is room")
}

/// That call with these cases, as it is written.
fn joined(shared: &str, cases: &[&str]) -> Vec<u8> {
    let mut keys = vec!["live".to_owned(), "asked".to_owned()];
    keys.extend(cases.iter().map(|case| format!("key-{case}")));
    let mut command = Script::Claim.call(&keys);
    command.arg(shared).arg(1).arg("A".repeat(cases.len())).arg("what").arg(cases);
    let mut packed = Vec::new();
    command.write_to(&mut packed);
    packed
}

#[tokio::test]
async fn cases_that_leave_together_are_one_call_and_each_has_its_own_reply() {
    let (pipe, mut far) = pipe(10_000);
    let (one, gone, two) = (join(&pipe, "a", "1"), join(&pipe, "a", "gone"), join(&pipe, "a", "2"));
    drop(gone);
    // Others share something else; and nobody overtakes a call between.
    let (other, between, three) = (join(&pipe, "b", "1"), call(&pipe, b"between"), join(&pipe, "b", "2"));
    let sent = [joined("a", &["1", "gone", "2"]), joined("b", &["1"]), b"between".to_vec(), joined("b", &["2"])];
    assert_eq!(read(&mut far, sent.concat().len()).await, sent.concat());
    // One case fails, one call fails whole; the replies come in pieces.
    for piece in [&b"*3\r"[..], b"\n*1\r\n:1\r\n*1\r\n:0\r", b"\n-ERR 2\r\n-NOSCRIPT", b"\r\n+between\r\n*1\r\n:3\r\n"]
    {
        far.write_all(piece).await.expect("the pipe reads");
    }
    assert_eq!(soon(one).await.expect("answered"), b"*1\r\n:1\r\n");
    assert_eq!(soon(two).await.expect("answered"), b"-ERR 2\r\n");
    assert_eq!(soon(other).await.expect("answered"), b"-NOSCRIPT\r\n");
    assert_eq!(soon(between).await.expect("answered"), b"+between\r\n");
    assert_eq!(soon(three).await.expect("answered"), b":3\r\n");
}

#[tokio::test]
async fn an_error_of_the_whole_call_is_every_cases_own() {
    let (pipe, mut far) = pipe(10_000);
    let cases = [join(&pipe, "a", "1"), join(&pipe, "a", "2")];
    read(&mut far, joined("a", &["1", "2"]).len()).await;
    far.write_all(b"-LOADING\r\n").await.expect("the pipe reads");
    for case in cases {
        assert_eq!(soon(case).await.expect("answered"), b"-LOADING\r\n");
    }
    assert!(pipe.queue.lock().calls.is_empty());
}

#[tokio::test]
async fn a_call_takes_no_more_cases_than_it_may_and_needs_a_reply_for_each() {
    let (pipe, mut far) = pipe(100_000);
    let names: Vec<String> = (0..=CASES_MAX).map(|n| n.to_string()).collect();
    let cases: Vec<_> = names.iter().map(|name| join(&pipe, "a", name)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let sent = [joined("a", &names[..CASES_MAX]), joined("a", &names[CASES_MAX..])].concat();
    assert_eq!(read(&mut far, sent.len()).await, sent);
    far.write_all(format!("*{}\r\n", CASES_MAX + 1).as_bytes()).await.expect("the pipe reads");
    soon(pipe.ended()).await;
    for case in cases {
        assert!(matches!(soon(case).await, Err(KvError::Lost)));
    }
}
