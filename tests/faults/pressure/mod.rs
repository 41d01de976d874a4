//! Measurements under overload: more attempts than the program can answer, and stores that do not answer.
//!
//! Only `make pressure` runs the measurements. They need a machine to themselves and a release build.

mod open_loop;

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use open_loop::{Attempt, is_good, percentile};

use crate::mysql;
use crate::proxy::Mode;
use crate::servers::{SECRET, runs_folder};
use crate::setup::{Layout, Setup};
use crate::world::World;

/// Customers, with an attempt each for a coupon that does not run out.
const CUSTOMERS: usize = 200_000;
/// More connections than the program serves at once, as in a crowd.
const CONNECTIONS: usize = 2_000;
/// How long attempts are sent at a rate.
const EACH: Duration = Duration::from_secs(8);
/// Attempts a second, from an easy rate to an overload of ten times the capacity.
const RATES: [u32; 5] = [500, 1_000, 2_000, 5_000, 10_000];
/// The requirements at the highest rate: good answers in percent of the best rate, and the 99th latency percentile.
const GOOD_SHARE: usize = 80;
const GOOD_WITHIN: Duration = Duration::from_millis(300);

/// A crowd with a request for every customer, and an instance behind proxies.
struct Pressure {
    world: World,
    requests: Vec<Vec<u8>>,
    folder: PathBuf,
}

impl Pressure {
    async fn start(name: &str, variables: &[(&str, &str)]) -> Self {
        Self::start_with(name, 1, variables).await
    }

    /// Starts the servers and prepares the requests. `variables` are settings of the first instance.
    async fn start_with(name: &str, instances: usize, variables: &[(&str, &str)]) -> Self {
        let folder = runs_folder().join(format!("pressure-{name}"));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("target can be written");
        let mut world = World::start(&folder, instances, Setup::of(&[], Layout::Single, instances, &folder)).await;
        let mut seed = Command::new(env!("CARGO_BIN_EXE_couponrush"));
        seed.args(["seed", "--amount", "10000000", "--customers", &CUSTOMERS.to_string(), "--jwt-secret", SECRET]);
        seed.args(["--redis-url", &world.redis.url(world.redis.port), "--mysql-url"]);
        seed.arg(world.mariadb.url(world.mariadb.port)).arg("--out").arg(&folder);
        let output = tokio::task::spawn_blocking(move || seed.output()).await.expect("the command does not panic");
        let output = output.expect("the program is built");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        world.kill(0);
        world.instances[0].process.start(variables);
        world.wait_until_ready().await;
        let requests = requests(&folder);
        Self { world, requests, folder }
    }

    /// Sends attempts of customers who have not asked yet.
    async fn attempts(&mut self, per_second: u32, seconds: Duration) -> Vec<Attempt> {
        let count = usize::try_from(u64::from(per_second) * seconds.as_secs()).expect("few requests");
        let requests = self.requests.split_off(self.requests.len() - count);
        open_loop::run(self.world.instances[0].http, Arc::from(requests), per_second, seconds, CONNECTIONS).await
    }

    /// Cuts the first instance off from MySQL during an open transaction.
    async fn hang_in_a_transaction(&self) {
        let (url, proxy) = (self.world.mariadb.root_url(), &self.world.instances[0].mysql);
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < Duration::from_secs(10), "no transaction was caught");
            // The delay keeps a transaction open almost all the time.
            proxy.set(Mode::Delay(Duration::from_millis(20)));
            tokio::time::sleep(Duration::from_secs(1)).await;
            proxy.set(Mode::BlackHole);
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            if mysql::oldest_transaction(&url).await >= Some(Duration::from_secs(1)) {
                return;
            }
        }
    }

    /// Measures and prints the answers at each rate. Asserts the requirements at the highest rate.
    async fn overload(&mut self, setup: &str) {
        eprintln!(
            "pressure: {setup}\n{:>10} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
            "attempts/s", "good/s", "busy/s", "unknown/s", "none/s", "p50 ms", "p99 ms"
        );
        let (mut peak, mut last, mut p99) = (0.0_f64, 0.0, Duration::ZERO);
        for rate in RATES {
            let attempts = self.attempts(rate, EACH).await;
            let per_second = |is_counted: fn(&Attempt) -> bool| {
                attempts.iter().filter(|attempt| is_counted(attempt)).count() as f64 / EACH.as_secs_f64()
            };
            last = per_second(is_good);
            peak = peak.max(last);
            p99 = percentile(attempts.iter().filter(|attempt| is_good(attempt)), 99);
            let p50 = percentile(attempts.iter().filter(|attempt| is_good(attempt)), 50);
            eprintln!(
                "{rate:>10} {last:>8.0} {:>8.0} {:>8.0} {:>8.0} {:>8} {:>8}",
                per_second(|attempt| attempt.status == 503 && !attempt.unknown),
                per_second(|attempt| attempt.unknown),
                per_second(|attempt| attempt.status == 0),
                p50.as_millis(),
                p99.as_millis()
            );
            // Time for the sockets to empty, so that the next rate starts without a backlog.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        eprintln!("pressure: at the last rate {:.0} % of the peak, p99 {} ms", 100.0 * last / peak, p99.as_millis());
        assert!(last * 100.0 >= peak * GOOD_SHARE as f64, "{last} of {peak} a second; see {}", self.folder.display());
        assert!(p99 < GOOD_WITHIN, "{p99:?}");
    }
}

/// A claim request for every customer, in the random order of the seeded tokens.
fn requests(folder: &std::path::Path) -> Vec<Vec<u8>> {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("`seed` has written the file");
    let (saler, coupon) = {
        let line = read("coupons.txt");
        let (saler, coupon) = line.trim().split_once('/').expect("a line of coupons.txt is saler/name");
        (saler.to_owned(), coupon.to_owned())
    };
    read("tokens.txt").lines().map(|token| {
        format!("PATCH /api/users/{saler}/coupons/{coupon} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\n\r\n").into_bytes()
    }).collect()
}

/// A delay of 40 ms for a round trip and 50 attempts in flight allow at most about 1,000 claims a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: make pressure"]
async fn ten_times_more_attempts_than_can_be_let_in_cost_few_good_answers() {
    let mut pressure = Pressure::start("few", &[("COUPONRUSH_IN_FLIGHT_MAX", "50")]).await;
    pressure.world.instances[0].redis.set(Mode::Delay(Duration::from_millis(20)));
    pressure.overload("Redis 40 ms away, 50 attempts in flight at most").await;
}

/// The in-flight limit has its default. The program must find out the capacity of the slow Redis.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: make pressure"]
async fn ten_times_more_attempts_than_redis_answers_cost_few_good_answers() {
    let mut pressure = Pressure::start("slow", &[]).await;
    pressure.world.instances[0].redis.set(Mode::Slow { bytes_per_second: 400_000 });
    pressure.overload("a Redis that reads 400 kB a second, the default in-flight limit").await;
}

/// The in-flight limit works as a circuit breaker: while Redis does not answer, a single attempt at a time probes
/// Redis. All others are refused at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: make pressure"]
async fn while_redis_is_frozen_almost_everybody_is_told_at_once() {
    const RATE: u32 = 2_000;
    const FROZEN: (Duration, Duration) = (Duration::from_secs(4), Duration::from_secs(8));
    let mut pressure = Pressure::start("frozen", &[]).await;
    let attempts = {
        let requests = pressure.requests.split_off(pressure.requests.len() - 24_000);
        let http = pressure.world.instances[0].http;
        let running =
            tokio::spawn(open_loop::run(http, Arc::from(requests), RATE, Duration::from_secs(12), CONNECTIONS));
        tokio::time::sleep(FROZEN.0).await;
        pressure.world.redis.process.freeze();
        tokio::time::sleep(FROZEN.1 - FROZEN.0).await;
        pressure.world.redis.process.thaw();
        running.await.expect("customers do not panic")
    };
    let during =
        |from: Duration, to: Duration| attempts.iter().filter(move |attempt| attempt.due >= from && attempt.due < to);
    // The last second of the freeze. By then the in-flight limit has adapted.
    let asked = during(FROZEN.1 - Duration::from_secs(1), FROZEN.1).count();
    let fast = || {
        during(FROZEN.1 - Duration::from_secs(1), FROZEN.1).filter(|attempt| attempt.status == 503 && !attempt.unknown)
    };
    let resumed = during(FROZEN.1, Duration::MAX)
        .filter(|attempt| is_good(attempt))
        .map(|attempt| attempt.due + attempt.took)
        .min();
    let resumed = resumed.expect("sales resume").saturating_sub(FROZEN.1);
    let after = Duration::from_secs(1);
    let good = during(FROZEN.1 + after, FROZEN.1 + after * 2).filter(|attempt| is_good(attempt)).count();
    let unknown = during(FROZEN.0, FROZEN.1).filter(|attempt| attempt.unknown).count();
    eprintln!(
        "pressure: Redis frozen for 4 s under {RATE} attempts a second: {unknown} unknown outcomes; in the last second \
        {} of {asked} were refused at once (p99 {} ms); first claim {} ms after the freeze, {good} in the second second after it",
        fast().count(),
        percentile(fast(), 99).as_millis(),
        resumed.as_millis()
    );
    assert!(fast().count() * 100 >= asked * 95, "only one attempt at a time probes Redis");
    assert!(percentile(fast(), 99) < Duration::from_millis(50), "no attempt waits for a frozen Redis");
    assert!(resumed < Duration::from_secs(1) && good * 10 >= 9 * RATE as usize, "sales resume: {resumed:?}, {good}");
}

/// An instance loses MySQL in the middle of a transaction, with a lock on the coupon's row. The second instance waits
/// for the row until MySQL ends the hung transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: make pressure"]
async fn a_transaction_that_hangs_holds_the_other_instance_up_for_seconds_only() {
    const RATE: u32 = 300;
    const HELD_UP_MAX: Duration = Duration::from_secs(15);
    let mut pressure = Pressure::start_with("hung", 2, &[]).await;
    for round in 1..=3 {
        let [hung_crowd, other_crowd] = [0, 1].map(|instance| {
            let requests = pressure.requests.split_off(pressure.requests.len() - 30 * RATE as usize);
            let http = pressure.world.instances[instance].http;
            tokio::spawn(open_loop::run(http, Arc::from(requests), RATE, Duration::from_secs(30), CONNECTIONS))
        });
        pressure.hang_in_a_transaction().await;
        let (mut stored, mut since, mut longest) = (0, Instant::now(), Duration::ZERO);
        let hung = Instant::now();
        while hung.elapsed() < Duration::from_secs(18) {
            let now = pressure.world.stored(1).await;
            if now != stored {
                (stored, since) = (now, Instant::now());
            }
            longest = longest.max(since.elapsed());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        pressure.world.instances[0].mysql.set(Mode::Pass);
        let answered: Vec<Attempt> = other_crowd.await.expect("customers do not panic");
        hung_crowd.await.expect("customers do not panic");
        let good = answered.iter().filter(|attempt| is_good(attempt)).count();
        eprintln!(
            "pressure: round {round}: a hung transaction; the other instance stored nothing for {:.1} s at the longest, and \
            answered {good} of {} claims",
            longest.as_secs_f64(),
            answered.len()
        );
        assert!(longest < HELD_UP_MAX, "{longest:?}");
        assert!(good * 100 >= answered.len() * 99, "claims do not wait for MySQL");
    }
}
