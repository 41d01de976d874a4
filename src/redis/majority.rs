//! The server that a majority names as the primary of a shard: a majority of the primaries of a cluster, or of the
//! sentinels.
//!
//! A server that was cut off from the others names itself, so the answer of one member proves nothing. Every question
//! goes to all known members at once. The answers name further members. The replies of a cluster hold the owners of all
//! slots, so the shards of a process share a question.

mod answer;
mod cluster;
mod sentinel;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, ProtocolVersion, RedisConnectionInfo, RedisError, Value};
use tokio::sync::watch;

use super::crate_settings::crate_settings;
use super::dial::Dialer;
use answer::Answer;
pub(super) use answer::HostPort;
pub use answer::Named;

/// Timeout of a question to one member.
const ASK_WAIT: Duration = Duration::from_secs(1);
/// Members that are known and asked, at most.
const MEMBERS_MAX: usize = 64;

/// The members to ask, and the question. Clones share the known members and the last question.
#[derive(Clone)]
pub(super) struct Majority {
    question: Question,
    settings: RedisConnectionInfo,
    /// For members that want a password although `settings` has none.
    with_password: Option<RedisConnectionInfo>,
    dialer: Dialer,
    seeds: Arc<[HostPort]>,
    known: Arc<Mutex<Vec<HostPort>>>,
    last: Arc<Mutex<Option<Asked>>>,
}

/// A question that was sent to all known members.
#[derive(Clone)]
struct Asked {
    at: Instant,
    /// Closed when no further reply can come.
    replies: watch::Receiver<Vec<MemberReply>>,
}

struct MemberReply {
    host: String,
    values: Vec<Value>,
}

#[derive(Debug, Clone)]
enum Question {
    /// Who owns this slot?
    Slot(u16),
    /// Who is the primary of this name?
    Primary(String),
}

impl Majority {
    /// Asks the primaries of a cluster for the owner of the slot of `tag`.
    pub(super) fn of_cluster(seeds: Vec<HostPort>, settings: RedisConnectionInfo, tag: &str, dialer: Dialer) -> Self {
        Self::new(Question::Slot(cluster::slot(tag)), seeds, settings, dialer)
    }

    /// Asks sentinels for the primary called `name`. Only sentinels that want a password get that of `settings`, because
    /// the others would refuse it.
    pub(super) fn of_sentinels(
        seeds: Vec<HostPort>,
        settings: RedisConnectionInfo,
        name: String,
        dialer: Dialer,
    ) -> Self {
        let plain = RedisConnectionInfo::default().set_skip_set_lib_name().set_protocol(ProtocolVersion::RESP2);
        let with_password = settings.password().is_some().then_some(settings);
        Self { with_password, ..Self::new(Question::Primary(name), seeds, plain, dialer) }
    }

    fn new(question: Question, seeds: Vec<HostPort>, settings: RedisConnectionInfo, dialer: Dialer) -> Self {
        let (seeds, known) = (Arc::from(seeds.as_slice()), Arc::new(Mutex::new(seeds)));
        Self { question, settings, with_password: None, dialer, seeds, known, last: Arc::default() }
    }

    /// The same members, asked for the slot of another tag. Sentinels have a single primary for all tags.
    pub(super) fn for_tag(&self, tag: &str) -> Self {
        match self.question {
            Question::Slot(_) => Self { question: Question::Slot(cluster::slot(tag)), ..self.clone() },
            Question::Primary(_) => self.clone(),
        }
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.question, Question::Slot(_))
    }

    /// The server that a majority names, and when the question was sent. `None` if no server is named by a majority within
    /// [`ASK_WAIT`]. A question that was sent at most `age` ago is not sent again.
    pub(super) async fn ask(&self, age: Duration) -> Option<(Named, Instant)> {
        let Asked { at, mut replies } = self.asked(age);
        loop {
            let answers: Vec<Answer> =
                replies.borrow_and_update().iter().filter_map(|reply| self.read(reply)).collect();
            let named = chosen(&answers);
            // Only the server itself says whether its slot migrates.
            let is_answer_of = |named: &Named| answers.iter().any(|answer| answer.member == named.server);
            let is_complete = named.as_ref().is_some_and(|named| !self.is_cluster() || is_answer_of(named));
            if is_complete || replies.changed().await.is_err() {
                self.learn(&answers);
                return named.map(|named| (named, at));
            }
        }
    }

    /// The last question, or a new one if the last is older than `age`.
    fn asked(&self, age: Duration) -> Asked {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asked) = last.as_ref().filter(|asked| asked.at.elapsed() <= age) {
            return asked.clone();
        }
        let (sender, replies) = watch::channel(Vec::new());
        let asked = Asked { at: Instant::now(), replies };
        *last = Some(asked.clone());
        tokio::spawn(self.clone().ask_all(sender));
        asked
    }

    async fn ask_all(self, replies: watch::Sender<Vec<MemberReply>>) {
        let members = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut asked: FuturesUnordered<_> = members.iter().map(|member| self.ask_one(member)).collect();
        while let Some(reply) = asked.next().await {
            replies.send_modify(|all| all.extend(reply));
        }
    }

    /// Adds the members in `answers`, and forgets members that nobody names any more.
    fn learn(&self, answers: &[Answer]) {
        let addresses = answers.iter().flat_map(|answer| &answer.addresses);
        let mut members: Vec<HostPort> = Vec::new();
        for member in self.seeds.iter().chain(addresses) {
            if members.len() < MEMBERS_MAX && !members.contains(member) {
                members.push(member.clone());
            }
        }
        if !answers.is_empty() {
            *self.known.lock().unwrap_or_else(PoisonError::into_inner) = members;
        }
    }

    /// The reply of a member, or `None` without a reply within [`ASK_WAIT`].
    async fn ask_one(&self, member: &HostPort) -> Option<MemberReply> {
        let asked = async {
            let values = self.replies(member, &self.settings).await?;
            match self.with_password.as_ref().filter(|_| values.iter().any(wants_password)) {
                Some(settings) => self.replies(member, settings).await,
                None => Some(values),
            }
        };
        let values = tokio::time::timeout(ASK_WAIT, asked).await.ok().flatten()?;
        Some(MemberReply { host: member.0.clone(), values })
    }

    /// The answer in a reply, or `None` if the reply is unreadable.
    fn read(&self, reply: &MemberReply) -> Option<Answer> {
        match &self.question {
            Question::Slot(slot) => cluster::read(&reply.values, *slot, &reply.host),
            Question::Primary(_) => sentinel::read(&reply.values),
        }
    }

    async fn replies(&self, (host, port): &HostPort, settings: &RedisConnectionInfo) -> Option<Vec<Value>> {
        let (socket, _) = self.dialer.tcp(host, *port).await.ok()?;
        let greeted = MultiplexedConnection::new_with_config(settings, socket, crate_settings()).await;
        let (redis, driver) = greeted.ok()?;
        tokio::select! {
            replies = send(redis, self.pipeline()) => replies.ok(),
            () = driver => None,
        }
    }

    fn pipeline(&self) -> Pipeline {
        match &self.question {
            Question::Slot(_) => cluster::question(),
            Question::Primary(name) => sentinel::question(name),
        }
    }
}

fn wants_password(reply: &Value) -> bool {
    matches!(reply, Value::ServerError(error) if error.code() == "NOAUTH")
}

async fn send(mut redis: MultiplexedConnection, pipeline: Pipeline) -> Result<Vec<Value>, RedisError> {
    redis.send_packed_commands(&pipeline, 0, pipeline.len()).await
}

/// The server with the votes of more than half of all voters. The number of voters is the highest that any member
/// knows, because a member that was cut off may know fewer.
fn chosen(answers: &[Answer]) -> Option<Named> {
    let mut voters: Vec<&str> = Vec::new();
    let mut votes: Vec<(&str, &Named)> = Vec::new();
    for answer in answers {
        let ids = answer.others.iter().chain([&answer.member]);
        for id in ids.filter(|_| !answer.others.is_empty()) {
            if !voters.contains(&id.as_str()) {
                voters.push(id);
            }
        }
        if let Some(named) = &answer.named
            && answer.votes
            && !votes.iter().any(|(member, _)| *member == answer.member)
        {
            votes.push((&answer.member, named));
        }
    }
    let voters = answers.iter().map(|answer| answer.voters).max()?.max(voters.len());
    let count = |server: &str| votes.iter().filter(|(_, named)| named.server == server).count();
    let (_, most) = votes.iter().max_by_key(|(_, named)| count(&named.server))?;
    if 2 * count(&most.server) <= voters {
        return None;
    }
    let of_itself = votes.iter().find(|(member, named)| *member == most.server && named.server == most.server);
    Some(of_itself.map_or(*most, |(_, named)| *named).clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(member: &str, voters: usize, server: &str, is_moving: bool) -> Answer {
        let named = Named { server: server.to_owned(), address: (server.to_owned(), 1), is_moving };
        let member = member.to_owned();
        Answer { member, votes: true, voters, others: Vec::new(), named: Some(named), addresses: Vec::new() }
    }

    fn chosen_of(answers: &[Answer]) -> Option<(String, bool)> {
        chosen(answers).map(|named| (named.server, named.is_moving))
    }

    #[test]
    fn more_than_half_of_the_voters_must_name_the_server() {
        let (p, q, t) = (answer("p", 3, "p", false), answer("q", 3, "r", false), answer("t", 3, "r", false));
        assert_eq!(chosen_of(&[]), None);
        assert_eq!(chosen_of(std::slice::from_ref(&p)), None, "a server that is cut off names itself");
        assert_eq!(chosen_of(&[p.clone(), q.clone()]), None);
        assert_eq!(chosen_of(&[q.clone(), q.clone()]), None, "a member with two addresses votes once");
        assert_eq!(chosen_of(&[p, q.clone(), t.clone()]), Some(("r".to_owned(), false)));
        let even = [answer("a", 4, "r", false), answer("b", 4, "r", false)];
        assert_eq!(chosen_of(&even), None, "a half is not a majority");
        let stale = answer("s", 5, "p", false);
        assert_eq!(chosen_of(&[stale, q.clone(), t]), None, "the highest number of voters counts");
        let replica = Answer { votes: false, ..answer("x", 3, "r", false) };
        assert_eq!(chosen_of(&[replica, q]), None);
    }

    #[test]
    fn only_the_named_server_says_whether_its_slot_migrates() {
        let (q, r) = (answer("q", 2, "r", false), answer("r", 2, "r", true));
        assert_eq!(chosen_of(&[q.clone(), r]), Some(("r".to_owned(), true)));
        let q = Answer { named: Some(Named { is_moving: false, ..q.named.clone().expect("named") }), ..q };
        assert_eq!(chosen_of(&[q, answer("r", 2, "r", false)]), Some(("r".to_owned(), false)));
    }

    #[test]
    fn sentinels_are_counted_by_their_ids() {
        let sentinel = |member: &str, others: &[&str]| Answer {
            others: others.iter().map(|other| (*other).to_owned()).collect(),
            ..answer(member, 1, "p", false)
        };
        assert_eq!(chosen_of(&[sentinel("a", &["b", "c"])]), None);
        assert!(chosen_of(&[sentinel("a", &["b", "c"]), sentinel("b", &["a", "c"])]).is_some());
        assert!(chosen_of(&[sentinel("a", &[])]).is_some(), "a single sentinel is a majority");
    }
}
