use super::*;

const LIMITS: PasswordLimits = PasswordLimits {
    queue_max: 100,
    wait: Duration::from_secs(30),
    verified_max: 100,
    verified_age: Duration::from_secs(60),
};

const ALL: Caller<'_> = Caller::PROGRAM;

fn passwords(limits: PasswordLimits) -> Passwords {
    Passwords::new(limits, NonZeroUsize::MIN).expect("a hash")
}

fn password(text: &str) -> Password {
    Password::parse(text.to_owned()).expect("a password")
}

#[tokio::test]
async fn a_correct_password_is_hashed_once_and_then_recognised() {
    let passwords = passwords(LIMITS);
    let stored = passwords.hash(&password("secret"), ALL).await.expect("a hash");
    for _ in 0..3 {
        assert_eq!(passwords.verify(&password("secret"), &stored, ALL).await.ok(), Some(Verified::Yes));
        assert_eq!(passwords.computed(), 2);
    }
}

#[tokio::test]
async fn a_wrong_password_is_never_remembered() {
    let passwords = passwords(LIMITS);
    let stored = passwords.hash(&password("secret"), ALL).await.expect("a hash");
    assert_eq!(passwords.verify(&password("secret"), &stored, ALL).await.ok(), Some(Verified::Yes));
    for computed in 3..6 {
        assert_eq!(passwords.verify(&password("Secret"), &stored, ALL).await.ok(), Some(Verified::No));
        assert_eq!(passwords.computed(), computed);
    }
}

#[tokio::test]
async fn a_password_remembered_for_one_stored_form_is_not_for_another() {
    let passwords = passwords(LIMITS);
    let first = passwords.hash(&password("secret"), ALL).await.expect("a hash");
    let second = passwords.hash(&password("other"), ALL).await.expect("a hash");
    assert_eq!(passwords.verify(&password("secret"), &first, ALL).await.ok(), Some(Verified::Yes));
    assert_eq!(passwords.verify(&password("secret"), &second, ALL).await.ok(), Some(Verified::No));
}

#[tokio::test]
async fn simultaneous_logins_of_one_user_share_a_hash() {
    let passwords = passwords(LIMITS);
    let stored = passwords.hash(&password("secret"), ALL).await.expect("a hash");
    let secret = password("secret");
    let logins = futures_util::future::join_all((0..50).map(|_| passwords.verify(&secret, &stored, ALL))).await;
    assert!(logins.iter().all(|login| matches!(login, Ok(Verified::Yes))));
    assert_eq!(passwords.computed(), 2);
}

#[tokio::test]
async fn simultaneous_guesses_share_a_hash_if_name_and_password_are_the_same() {
    let passwords = passwords(LIMITS);
    let stored = passwords.hash(&password("secret"), ALL).await.expect("a hash");
    let guess = |name, text| {
        let (passwords, stored, password) = (&passwords, &stored, password(text));
        async move { passwords.verify(&password, stored, Caller { name, ..ALL }).await.ok() }
    };
    let guesses = futures_util::future::join_all((0..50).map(|_| guess("ann", "wrong"))).await;
    assert!(guesses.iter().all(|guess| *guess == Some(Verified::No)));
    assert_eq!((passwords.computed(), passwords.waiting()), (2, 0));
    // Names without a user have one stored form, and the time must not tell them from others.
    tokio::join!(guess("ann", "wrong"), guess("bob", "wrong"), guess("ann", "other"));
    assert_eq!(passwords.computed(), 5);
}

#[tokio::test]
async fn of_callers_who_share_a_hash_the_next_one_goes_on_if_the_first_one_leaves() {
    let passwords = passwords(PasswordLimits { queue_max: 1, ..LIMITS });
    let stored = passwords.hash(&password("secret"), ALL).await.expect("a hash");
    let turn = passwords.turn(ALL, LIMITS.wait).await.expect("nobody else is here");
    let wrong = password("wrong");
    let mut first = Box::pin(passwords.verify(&wrong, &stored, ALL));
    let mut second = Box::pin(passwords.verify(&wrong, &stored, ALL));
    assert!(futures_util::poll!(&mut first).is_pending() && futures_util::poll!(&mut second).is_pending());
    assert_eq!(passwords.waiting(), 2, "both wait in one place");
    let third = passwords.verify(&wrong, &stored, ALL).await;
    assert!(matches!(third, Err(HashError::QueueFull)), "one may share, and the line is full");
    drop(first);
    drop(turn);
    assert_eq!(second.await.ok(), Some(Verified::No));
}

#[tokio::test]
async fn an_imported_password_asks_to_be_hashed_again_also_when_it_is_recognised() {
    let passwords = passwords(LIMITS);
    let stored = passwords.wrap_md5("5EBE2294ECD0E0F08EAB7690D2A6EE69").await.expect("a hash");
    assert!(stored.starts_with("md5:$argon2id$"));
    for _ in 0..2 {
        assert_eq!(passwords.verify(&password("secret"), &stored, ALL).await.ok(), Some(Verified::YesRehash));
    }
    assert_eq!(passwords.computed(), 2);
    assert_eq!(passwords.verify(&password("Secret"), &stored, ALL).await.ok(), Some(Verified::No));
}

#[tokio::test]
async fn a_hash_of_the_text_as_typed_fits_and_asks_to_be_hashed_again() {
    let passwords = passwords(LIMITS);
    let typed = password("cafe\u{301}").as_typed().expect("the text is not normalized");
    let stored = passwords.hash(&typed, ALL).await.expect("a hash");
    assert_eq!(passwords.verify(&password("cafe\u{301}"), &stored, ALL).await.ok(), Some(Verified::YesRehash));
    assert_eq!(passwords.verify(&password("caf\u{e9}"), &stored, ALL).await.ok(), Some(Verified::No));
    let stored = passwords.hash(&password("cafe\u{301}"), ALL).await.expect("a hash");
    for text in ["cafe\u{301}", "caf\u{e9}"] {
        assert_eq!(passwords.verify(&password(text), &stored, ALL).await.ok(), Some(Verified::Yes), "{text}");
    }
}

#[tokio::test]
async fn nobody_takes_as_long_as_a_wrong_password_however_it_is_typed() {
    let passwords = passwords(LIMITS);
    let stored = passwords.hash(&password("secret"), ALL).await.expect("a hash");
    for text in ["wrong", "cafe\u{301}"] {
        let before = passwords.computed();
        assert_eq!(passwords.verify(&password(text), &stored, ALL).await.ok(), Some(Verified::No));
        let hashes = passwords.computed() - before;
        assert!(passwords.verify_nobody(&password(text), ALL).await.is_ok());
        assert_eq!(passwords.computed() - before, 2 * hashes, "{text}");
    }
}

#[tokio::test]
async fn nobody_and_a_user_who_cannot_log_in_cost_a_hash_each_time() {
    let passwords = passwords(LIMITS);
    for computed in [1, 3] {
        assert!(passwords.verify_nobody(&password("secret"), ALL).await.is_ok());
        assert_eq!(passwords.computed(), computed);
        assert_eq!(passwords.verify(&password("secret"), "", ALL).await.ok(), Some(Verified::No));
        assert_eq!(passwords.computed(), computed + 1);
    }
}

#[tokio::test]
async fn whoever_finds_the_queue_full_is_told_so_at_once() {
    let passwords = passwords(PasswordLimits { queue_max: 1, ..LIMITS });
    let turn = passwords.turn(ALL, LIMITS.wait).await.expect("nobody else is here");
    let secret = password("secret");
    let mut waiting = std::pin::pin!(passwords.hash(&secret, ALL));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    assert_eq!(passwords.waiting(), 1);
    assert!(matches!(passwords.hash(&secret, ALL).await, Err(HashError::QueueFull)));
    drop(turn);
    assert!(waiting.await.is_ok());
    assert_eq!(passwords.waiting(), 0);
}

#[tokio::test]
async fn whoever_waits_too_long_is_told_so_and_leaves_the_queue() {
    let passwords = passwords(PasswordLimits { wait: Duration::from_millis(1), ..LIMITS });
    let turn = passwords.turn(ALL, LIMITS.wait).await.expect("nobody else is here");
    assert!(matches!(passwords.hash(&password("secret"), ALL).await, Err(HashError::TooLate)));
    assert_eq!(passwords.waiting(), 0);
    drop(turn);
    assert!(passwords.hash(&password("secret"), ALL).await.is_ok());
}

#[tokio::test]
async fn a_hash_that_is_not_wanted_when_its_turn_comes_is_not_computed() {
    let passwords = passwords(LIMITS);
    let caller = Caller { still_wants: &|| false, ..ALL };
    let outcome = passwords.hash(&password("secret"), caller).await;
    assert!(matches!(outcome, Err(HashError::Unwanted)));
    assert_eq!(passwords.computed(), 0);
    assert!(passwords.hash(&password("secret"), ALL).await.is_ok(), "the turn is given back");
}

#[tokio::test]
async fn a_recognised_password_needs_no_turn() {
    let passwords = passwords(PasswordLimits { queue_max: 0, ..LIMITS });
    let stored = passwords.hash(&password("secret"), ALL).await.expect("a hash");
    assert_eq!(passwords.verify(&password("secret"), &stored, ALL).await.ok(), Some(Verified::Yes));
    let _turn = passwords.turn(ALL, LIMITS.wait).await.expect("nobody else is here");
    assert_eq!(passwords.verify(&password("secret"), &stored, ALL).await.ok(), Some(Verified::Yes));
    assert!(matches!(passwords.verify(&password("other"), &stored, ALL).await, Err(HashError::QueueFull)));
}

#[tokio::test]
async fn a_stored_form_that_is_none_of_ours_is_a_failure() {
    let outcome = passwords(LIMITS).verify(&password("secret"), "$2b$12$abc", ALL).await;
    assert!(matches!(outcome, Err(HashError::Failed(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_works_on_a_runtime_of_several_threads_too() {
    let passwords = Passwords::new(LIMITS, NonZeroUsize::new(2).expect("2")).expect("a hash");
    let stored = passwords.hash(&password("secret"), ALL).await.expect("a hash");
    assert_eq!(passwords.verify(&password("secret"), &stored, ALL).await.ok(), Some(Verified::Yes));
}
