use super::*;

/// Round numbers, so that every figure can be checked by hand.
const COSTS: SizingCosts = SizingCosts {
    service_attempt_us: 30.0,
    service_call_us: 10.0,
    service_refusal_us: 20.0,
    login_us: 36_000.0,
    redis_attempt_us: 10.0,
    redis_call_us: 40.0,
    mysql_row_us: 15.0,
    mysql_transaction_us: 500.0,
    instance_bytes: 1_000_000.0,
    instance_shard_bytes: 100_000.0,
    connection_bytes: 1_000.0,
    redis_bytes: 1_000_000.0,
    redis_claim_bytes: 100.0,
    redis_waiting_bytes: 50.0,
    mysql_claim_bytes: 100.0,
    mysql_user_bytes: 200.0,
    request_bytes: 100.0,
    answer_bytes: 200.0,
    redis_request_bytes: 300.0,
    redis_answer_bytes: 30.0,
    mysql_network_bytes: 60.0,
};

fn plan(attempts: u64, claims: u64, users: u64, coupons: u64) -> SalePlan {
    SalePlan::of(&PlannedSale::new(attempts, claims, users, coupons).expect("the numbers are valid"), &COSTS)
}

#[test]
fn a_small_sale_fits_on_the_smallest_servers() {
    let plan = plan(1_000, 10_000, 10_000, 1);
    assert_eq!((plan.instances, plan.instance_cores, plan.shards), (1.0, 2.0, 1.0));
    // 1,000 attempts of 50 us on the core of Redis, and 1,000 rows of 20 us on the core of MySQL.
    assert_eq!((plan.redis_load, plan.decided, plan.refused), (0.05, 1_000.0, 0.0));
    assert_eq!((plan.stored, plan.mysql_cores, plan.waiting), (1_000.0, 0.02, 0.0));
    assert_eq!((plan.sold_out_after, plan.stored_after), (10.0, 10.0));
    // Twice one megabyte and 10,000 claims of 100 bytes, because half stays free.
    assert_eq!(plan.redis_bytes, 4e6);
    assert_eq!(plan.mysql_bytes, 2.0 * (10_000.0 * 100.0 + 10_000.0 * 200.0));
    // Idle, 10,000 connections with a key of 50 bytes, and 10,000 holders of 16 bytes.
    assert_eq!(plan.instance_bytes, 2.0 * (1e6 + 10_000.0 * 1_050.0 + 10_000.0 * 16.0));
    assert_eq!(plan.mysql_connections, 2.0 * 22.0);
    assert_eq!((plan.from_users, plan.to_users), (1e5, 2e5));
    assert_eq!((plan.to_redis, plan.from_redis, plan.with_mysql), (3e5, 3e4, 6e4));
    // 10,000 logins of 36 ms in an hour.
    assert_eq!(plan.login_cores, 0.1);
}

#[test]
fn many_coupons_get_as_many_primaries_as_leave_half_of_each_core_free() {
    // 100,000 attempts of 50 us are 5 cores.
    let plan = plan(100_000, 1_000_000, 1_000_000, 100);
    assert_eq!((plan.shards, plan.redis_load, plan.refused), (10.0, 0.5, 0.0));
    // 4 cores for attempts, but 10 for logins.
    assert_eq!((plan.login_cores, plan.instances * plan.instance_cores), (10.0, 24.0));
    // MySQL stores 25,000 rows a second with half a core. Three quarters of the claims wait when all are sold.
    assert_eq!((plan.stored, plan.mysql_cores), (25_000.0, 0.5));
    assert_eq!((plan.sold_out_after, plan.waiting, plan.stored_after), (10.0, 750_000.0, 40.0));
}

#[test]
fn one_coupon_is_limited_by_the_core_of_its_redis() {
    for (attempts, decided) in [(20_000, 20_000.0), (100_000, 20_000.0), (1_000_000, 20_000.0)] {
        let plan = plan(attempts, 100_000, 100_000, 1);
        assert_eq!((plan.shards, plan.redis_load, plan.decided), (1.0, 1.0, decided), "{attempts}");
        assert_eq!(plan.refused, attempts as f64 - decided, "{attempts}");
        let first = plan.breaks_first;
        assert_eq!((first.part, first.at.round()), (BreakingPart::Coupons, 20_000.0), "{attempts}");
    }
}

#[test]
fn refused_attempts_cost_less_than_decided_ones() {
    // 20,000 attempts of 40 us and 980,000 of 20 us.
    let one = plan(1_000_000, 100_000, 100_000, 1);
    assert_eq!(one.instances * one.instance_cores, 48.0);
    // 1,000,000 attempts of 40 us, of which half of the cores stay free.
    let many = plan(1_000_000, 100_000, 100_000, 1_000);
    assert_eq!(many.instances * many.instance_cores, 80.0);
}

#[test]
fn no_plan_has_more_shards_than_a_database() {
    let plan = plan(1_000_000, 1_000_000, 1_000_000, 1_000);
    assert_eq!((plan.shards, plan.refused), (64.0, 0.0));
    let first = plan.breaks_first;
    assert_eq!((first.part, first.at.round()), (BreakingPart::Shards, 1_280_000.0));
}

#[test]
fn the_part_with_the_least_room_breaks_first() {
    let first = |attempts, claims, users, coupons| {
        let Breaking { part, at } = plan(attempts, claims, users, coupons).breaks_first;
        (part, at.round())
    };
    // 2 cores: 60,000 users need a third of them, and 100 attempts a second nearly nothing.
    assert_eq!(first(100, 1_000, 60_000, 1), (BreakingPart::Logins, 200_000.0));
    // 2 primaries of 20,000 attempts, and 2 cores of 25,000.
    assert_eq!(first(12_000, 10_000, 10_000, 100), (BreakingPart::Primaries, 40_000.0));
    // 1 primary of 20,000 attempts, and 10,000 attempts need 0.4 of 2 cores.
    assert_eq!(first(10_000, 10_000, 10_000, 100), (BreakingPart::Primaries, 20_000.0));
    // 100,000,000 claims may wait in 10 shards. While MySQL stores the other half, 50,000 a second fill the shards.
    assert_eq!(first(100_000, 200_000_000, 2_000_000, 10), (BreakingPart::Backlog, 50_000.0));
    assert_eq!(first(100_000, 100_000_000, 2_000_000, 10).0, BreakingPart::Coupons);
}

#[test]
fn instances_grow_before_their_number_does() {
    let cores = |attempts| {
        let plan = plan(attempts, 1_000_000, 1_000, 1_000);
        (plan.instances, plan.instance_cores)
    };
    // 40 us for each attempt, and half of each core.
    assert_eq!(cores(25_000), (1.0, 2.0));
    assert_eq!(cores(100_000), (4.0, 2.0));
    assert_eq!(cores(200_000), (4.0, 4.0));
    assert_eq!(cores(400_000), (4.0, 8.0));
    assert_eq!(cores(800_000), (4.0, 16.0));
    assert_eq!(cores(1_000_000), (5.0, 16.0));
    // 65 cores for 100,000 connections each, and few cores for logins of 1 us.
    let sale = PlannedSale::new(1, 1, 6_500_000, 1).expect("the numbers are valid");
    let plan = SalePlan::of(&sale, &SizingCosts { login_us: 1.0, ..COSTS });
    assert_eq!((plan.instances, plan.instance_cores), (5.0, 16.0));
}

#[test]
fn contradicting_numbers_are_refused_by_a_sentence() {
    let refused = |attempts, claims, users, coupons| {
        PlannedSale::new(attempts, claims, users, coupons).expect_err("the numbers are refused").to_string()
    };
    assert_eq!(refused(0, 1, 1, 1), "attempts-per-second: 0 is not between 1 and 1000000");
    assert_eq!(refused(1_000_001, 1, 1, 1), "attempts-per-second: 1000001 is not between 1 and 1000000");
    assert_eq!(refused(1, 0, 1, 1), "claims: 0 is not between 1 and 1000000000");
    assert_eq!(refused(1, 1, u64::MAX, 1), "users: 18446744073709551615 is not between 1 and 1000000000");
    assert_eq!(refused(1, 1, 1, 0), "coupons: 0 is not between 1 and 100000");
    assert_eq!(refused(1, 5, 9, 6), "6 coupons with 5 claims: a coupon has at least one");
    let too_few = "2 users cannot make 201 claims, because a user gets a coupon at most 100 times";
    assert_eq!(refused(1, 201, 2, 1), too_few);
    assert!(PlannedSale::new(1, 200, 2, 1).is_ok() && PlannedSale::new(1_000_000, 1, 1, 1).is_ok());
}
