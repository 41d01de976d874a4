//! Tickets: proofs that a customer may try to claim in an activity that asks for one.
//!
//! A ticket is for one user and one activity, and is good for every attempt until it ends, because a repeated attempt must
//! be answered as before. The service remembers no ticket and no challenge: both are signed. Challenges, tickets and tickets
//! of the operator's own check have keys of their own, so none passes for another.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::keys::TokenKeys;
use super::secrets::Secrets;
use crate::domain::{Activity, ActivityId, TicketRule, UserId};

/// How long before the start of an activity challenges are given, in seconds.
const EARLY_SECONDS: u64 = 30 * 60;
/// Lifetime of a challenge in seconds, and of a ticket after its challenge has ended or the activity has started.
const LIFE_SECONDS: u64 = 10 * 60;
/// Maximum lifetime of a ticket of the operator's own check, in seconds. So a stolen ticket is worth little.
const SIGNED_SECONDS_MAX: u64 = 60 * 60;
/// Digits of a nonce. 22 bits need about 7.
const NONCE_DIGITS_MAX: usize = 20;

pub struct Tickets {
    challenges: TokenKeys,
    tickets: TokenKeys,
    /// Keys of the operator's own check, if it has any.
    signed: Option<TokenKeys>,
}

/// A task for a customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    pub text: String,
    /// Zero bits at the beginning of the SHA-256 hash of `text`, a dot and the nonce.
    pub bits: u8,
    /// Seconds since 1970.
    pub expires_at: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    pub text: String,
    /// Seconds since 1970.
    pub expires_at: u64,
}

/// Why there is no challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoChallenge {
    /// The activity asks for no ticket, or for one of the operator's own check.
    NotHere,
    /// The activity starts in more than half an hour.
    TooEarly,
}

/// Why a solution gives no ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoTicket {
    /// The challenge was not made here, or is another user's.
    Forged,
    Expired,
    /// The nonce does not solve the challenge.
    Unsolved,
}

#[derive(Serialize, Deserialize)]
struct ChallengePayload {
    sub: u64,
    act: u32,
    bits: u8,
    /// The start of the activity.
    start: u64,
    exp: u64,
}

#[derive(Serialize, Deserialize)]
struct TicketPayload {
    sub: UserOfTicket,
    act: u32,
    exp: u64,
}

/// RFC 7519 wants a text. Many programs write a number.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum UserOfTicket {
    Number(u64),
    Text(String),
}

impl Tickets {
    /// `secrets` are the secrets of claim tokens. `signed` are those of the operator's own check.
    pub fn new(secrets: &Secrets, signed: Option<&Secrets>) -> Self {
        Self {
            challenges: TokenKeys::new(&secrets.for_challenges()),
            tickets: TokenKeys::new(&secrets.for_tickets()),
            signed: signed.map(TokenKeys::new),
        }
    }

    /// Whether the operator's own check may sign tickets.
    pub const fn can_be_signed_elsewhere(&self) -> bool {
        self.signed.is_some()
    }

    /// A challenge for `user`. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// [`NoChallenge`]
    pub fn challenge(&self, user: UserId, activity: &Activity, now: u64) -> Result<Challenge, NoChallenge> {
        let Some(TicketRule::Work { bits }) = activity.conditions.ticket else { return Err(NoChallenge::NotHere) };
        let start = activity.terms.window.start();
        if now + EARLY_SECONDS < start {
            return Err(NoChallenge::TooEarly);
        }
        let expires_at = now + LIFE_SECONDS;
        let payload = ChallengePayload { sub: user.0, act: activity.id.0, bits, start, exp: expires_at };
        Ok(Challenge { text: self.challenges.sign(&payload), bits, expires_at })
    }

    /// The ticket for a solved challenge. Who solves a challenge before the start has a ticket at the start.
    ///
    /// # Errors
    /// [`NoTicket`]
    pub fn redeem(&self, user: UserId, challenge: &str, nonce: &str, now: u64) -> Result<Ticket, NoTicket> {
        let payload = self.challenges.open(challenge.as_bytes()).ok_or(NoTicket::Forged)?;
        let payload: ChallengePayload = serde_json::from_slice(&payload).map_err(|_| NoTicket::Forged)?;
        if payload.sub != user.0 {
            return Err(NoTicket::Forged);
        }
        if payload.exp <= now {
            return Err(NoTicket::Expired);
        }
        let is_number =
            (1..=NONCE_DIGITS_MAX).contains(&nonce.len()) && nonce.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number || zero_bits(challenge, nonce) < u32::from(payload.bits) {
            return Err(NoTicket::Unsolved);
        }
        let expires_at = payload.exp.max(payload.start) + LIFE_SECONDS;
        let ticket = TicketPayload { sub: UserOfTicket::Number(user.0), act: payload.act, exp: expires_at };
        Ok(Ticket { text: self.tickets.sign(&ticket), expires_at })
    }

    /// Whether `ticket` lets `user` try to claim in `activity` under `rule`. `now` is in seconds since 1970.
    pub fn admits(&self, rule: TicketRule, ticket: &str, user: UserId, activity: ActivityId, now: u64) -> bool {
        let (keys, last) = match rule {
            TicketRule::Work { .. } => (Some(&self.tickets), u64::MAX),
            TicketRule::Signed => (self.signed.as_ref(), now + SIGNED_SECONDS_MAX),
        };
        let payload = keys.and_then(|keys| keys.open(ticket.trim().as_bytes()));
        let payload = payload.and_then(|payload| serde_json::from_slice::<TicketPayload>(&payload).ok());
        payload.is_some_and(|TicketPayload { sub, act, exp }| {
            sub.is(user) && act == activity.0 && (now + 1..=last).contains(&exp)
        })
    }
}

impl UserOfTicket {
    fn is(&self, user: UserId) -> bool {
        match self {
            Self::Number(id) => *id == user.0,
            Self::Text(id) => *id == user.0.to_string(),
        }
    }
}

/// Zero bits at the beginning of the hash of a solution.
fn zero_bits(challenge: &str, nonce: &str) -> u32 {
    let hash = Sha256::new().chain_update(challenge).chain_update(".").chain_update(nonce).finalize();
    let zero_bytes = hash.iter().take_while(|byte| **byte == 0).count();
    let next = hash.get(zero_bytes).map_or(0, |byte| byte.leading_zeros());
    u32::try_from(zero_bytes).unwrap_or(0) * 8 + next
}

#[cfg(test)]
mod tests {
    use super::super::keys::tests::{secrets, sign_with};
    use super::*;
    use crate::domain::{ActivityName, Conditions, CouponId, Rate, Status, Terms, Window};

    const ANN: UserId = UserId(7);
    const BOB: UserId = UserId(8);
    const NOW: u64 = 10_000;
    const WORK: TicketRule = TicketRule::Work { bits: 8 };

    fn activity(ticket: Option<TicketRule>, start: u64) -> Activity {
        let name = ActivityName::parse("noon".to_owned()).expect("a name");
        let window = Window::new(start, start + 60).expect("a window");
        let (status, buy_rate) = (Status::Normal, Rate::ALL);
        let terms = Terms { name, window, total: 0, status, speed: 0, buy_limit: 1, buy_rate };
        let conditions = Conditions { ticket, ..Conditions::default() };
        Activity { id: ActivityId(3), coupon: CouponId(1), terms, conditions }
    }

    fn tickets() -> Tickets {
        Tickets::new(&secrets("a"), Some(&secrets("s")))
    }

    fn solve(challenge: &Challenge) -> String {
        let mut nonces = (0_u64..).map(|nonce| nonce.to_string());
        nonces
            .find(|nonce| zero_bits(&challenge.text, nonce) >= u32::from(challenge.bits))
            .expect("there are solutions")
    }

    fn challenge(start: u64) -> Challenge {
        tickets().challenge(ANN, &activity(Some(WORK), start), NOW).expect("the activity asks for a ticket")
    }

    #[test]
    fn a_solved_challenge_gives_its_user_a_ticket_for_its_activity() {
        let challenge = challenge(NOW);
        let ticket = tickets().redeem(ANN, &challenge.text, &solve(&challenge), NOW + 5).expect("it is solved");
        let admits = |user, activity, now| tickets().admits(WORK, &ticket.text, user, ActivityId(activity), now);
        assert!(admits(ANN, 3, NOW) && admits(ANN, 3, ticket.expires_at - 1));
        assert!(!admits(BOB, 3, NOW) && !admits(ANN, 4, NOW) && !admits(ANN, 3, ticket.expires_at));
        assert!(!tickets().admits(TicketRule::Signed, &ticket.text, ANN, ActivityId(3), NOW));
        assert!(!tickets().admits(WORK, &challenge.text, ANN, ActivityId(3), NOW), "a challenge is no ticket");
    }

    #[test]
    fn who_solves_before_the_start_has_a_ticket_at_the_start() {
        let start = NOW + EARLY_SECONDS;
        let challenge = challenge(start);
        let ticket = tickets().redeem(ANN, &challenge.text, &solve(&challenge), NOW).expect("it is solved");
        assert_eq!(ticket.expires_at, start + LIFE_SECONDS);
        let early = tickets().challenge(ANN, &activity(Some(WORK), start + 1), NOW);
        assert_eq!(early, Err(NoChallenge::TooEarly));
        for rule in [None, Some(TicketRule::Signed)] {
            assert_eq!(tickets().challenge(ANN, &activity(rule, NOW), NOW), Err(NoChallenge::NotHere));
        }
    }

    #[test]
    fn what_does_not_solve_an_own_challenge_in_time_gives_no_ticket() {
        let challenge = challenge(NOW);
        let solution = solve(&challenge);
        let redeem = |user, text: &str, nonce: &str, now| tickets().redeem(user, text, nonce, now).err();
        assert_eq!(redeem(BOB, &challenge.text, &solution, NOW), Some(NoTicket::Forged));
        assert_eq!(redeem(ANN, &challenge.text, &solution, challenge.expires_at), Some(NoTicket::Expired));
        let wrong = (0_u64..).map(|n| n.to_string()).find(|n| zero_bits(&challenge.text, n) < 8).expect("most are");
        for nonce in [&wrong, "", "x", "+1", &"1".repeat(21), &format!(" {solution}")] {
            assert_eq!(redeem(ANN, &challenge.text, nonce, NOW), Some(NoTicket::Unsolved), "{nonce}");
        }
        for text in ["", "x", &challenge.text[1..]] {
            assert_eq!(redeem(ANN, text, &solution, NOW), Some(NoTicket::Forged), "{text}");
        }
    }

    #[test]
    fn tickets_of_the_operators_check_count_for_an_hour_at_most() {
        let admits = |letter, payload: &str| {
            let ticket = sign_with(letter, r#"{"alg":"HS256"}"#, payload);
            tickets().admits(TicketRule::Signed, &ticket, ANN, ActivityId(3), NOW)
        };
        assert!(admits('s', r#"{"sub":"7","act":3,"exp":13600}"#) && admits('s', r#"{"sub":7,"act":3,"exp":10001}"#));
        for payload in [
            r#"{"sub":"7","act":3,"exp":13601}"#,
            r#"{"sub":"7","act":3,"exp":10000}"#,
            r#"{"sub":"8","act":3,"exp":10001}"#,
            r#"{"sub":"7","act":4,"exp":10001}"#,
            r#"{"sub":"7","act":3}"#,
            r#"{"act":3,"exp":10001}"#,
        ] {
            assert!(!admits('s', payload), "{payload}");
        }
        let good = r#"{"sub":"7","act":3,"exp":10001}"#;
        assert!(!admits('a', good), "signed with the secret of claims");
        let without = Tickets::new(&secrets("a"), None);
        let ticket = sign_with('s', r#"{"alg":"HS256"}"#, good);
        assert!(!without.admits(TicketRule::Signed, &ticket, ANN, ActivityId(3), NOW));
    }
}
