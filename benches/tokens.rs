//! Cost of making and checking a token: `cargo bench --bench tokens`.

use std::hint::black_box;

use couponrush::auth::{ClaimTokens, Secrets, UserTokens};
use couponrush::domain::{ActivityId, Claim, CouponId, EntryId, Epoch, Kind, User, UserId, UserName};
use criterion::{Criterion, criterion_group, criterion_main};

const NOW: u64 = 1_800_000_000;
const DAY: u64 = 86_400;

fn tokens(criterion: &mut Criterion) {
    let secrets = Secrets::parse("SECRET", &"a".repeat(32)).expect("32 bytes");
    let users = UserTokens::new(&secrets, DAY);
    let name = UserName::parse("customer-123456".to_owned()).expect("a name");
    let user = User { id: UserId(123_456), name, kind: Kind::Customer };
    let good = users.issue(&user, 1, NOW);
    assert!(users.verify(&good, NOW).is_ok());
    let unsigned = &good[..good.rfind('.').expect("two dots")];
    let forged = format!("{unsigned}.{}", "A".repeat(43));
    criterion.bench_function("a session token is issued", |bencher| bencher.iter(|| users.issue(&user, 1, NOW)));
    for (name, token) in [("a good", &*good), ("a forged", &*forged), ("a malformed", "not a token")] {
        criterion.bench_function(&format!("{name} session token is checked"), |bencher| {
            bencher.iter(|| users.verify(black_box(token), NOW));
        });
    }

    let claims = ClaimTokens::new(&secrets.for_claims());
    let claim = Claim {
        coupon: CouponId(17),
        user: UserId(123_456),
        entry: EntryId { ms: NOW * 1_000, counter: 9 },
        seq: 4_711,
        activity: ActivityId(3),
        epoch: Epoch(1),
        nth: 1,
        claimed_at_ms: NOW * 1_000,
    };
    let proof = claims.sign(&claim);
    assert!(claims.verify(&proof).is_some());
    criterion.bench_function("a claim token is signed", |bencher| bencher.iter(|| claims.sign(black_box(&claim))));
    criterion.bench_function("a claim token is checked", |bencher| bencher.iter(|| claims.verify(black_box(&proof))));
}

criterion_group!(benches, tokens);
criterion_main!(benches);
