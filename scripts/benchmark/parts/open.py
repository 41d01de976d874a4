"""Latency at half the peak rate in an open loop: requests are sent when they are due."""

import subprocess
from statistics import median

from ..machine import say
from ..settings import CLAIM_TURNS, CONNECTIONS, OPEN_ROUNDS, RELEASE

# Seconds of a round, and of its beginning that does not count: all connections are made then.
SECONDS, WARM_SECONDS = 4, 1


def run(bench):
    service = bench.service
    service.rewrite_redis_file()
    rate = int((bench.peak or median(bench.claim_by_turns(CLAIM_TURNS).rates)) / 2)
    rounds = []
    for _ in range(OPEN_ROUNDS):
        rounds.append(measure_round(service, rate))
        say(f"p99 of claims / p99 of static: {rounds[-1][0]:.2f}")
    ratio, latencies = sorted(rounds, key=lambda each: each[0])[OPEN_ROUNDS // 2]
    bench.report.series["open"] = {
        what: [percentile(took, percent) for percent in range(100)] + [took[int(len(took) * 0.999)] / 1_000]
        for what, took in latencies.items()}
    for what, took in latencies.items():
        bench.report.add(f"{what} at {rate:,} a second, open loop: median, p99", percentile(took, 50),
                         unit=f"ms, {percentile(took, 99):.2f} ms")
    ratios = ", ".join(f"{ratio:.2f}" for ratio, _ in rounds)
    bench.report.add(f"p99 of claims / of static, both at that rate, half of what claims reach: the median of {ratios}",
                     ratio, 3, at_most=True)


def percentile(took, percent):
    """Milliseconds, of sorted latencies in microseconds."""
    return took[min(len(took) * percent // 100, len(took) - 1)] / 1_000


def measure_round(service, rate):
    """The ratio of the p99 of claims to that of the static answer, and all latencies of both."""
    count = rate * SECONDS
    saler, name = service.fresh_coupon().read_text().strip().split("/", 1)
    claims = [f"PATCH /api/users/{saler}/coupons/{name} {token}" for token in service.tokens[:count]]
    latencies = {"static": open_loop(service, ["GET /healthz"] * count, rate, "200"),
                 "claims": open_loop(service, claims, rate, "201")}
    service.settle()
    return percentile(latencies["claims"], 99) / percentile(latencies["static"], 99), latencies


def open_loop(service, lines, rate, wanted):
    """Sends the requests at a steady rate and returns their sorted latencies in microseconds.

    A request that was answered otherwise counts as if it had waited for the whole round.
    """
    requests, results = service.folder / "open.txt", service.folder / "open.csv"
    requests.write_text("\n".join(lines) + "\n")
    subprocess.run([RELEASE / "examples/open_loop", f"127.0.0.1:{service.port}", requests, results, str(rate),
                    str(SECONDS), str(CONNECTIONS)], check=True)
    rows = [line.split(",") for line in results.read_text().splitlines()]
    rows = [(int(took), status) for due, took, status in rows if int(due) >= WARM_SECONDS * 1e6]
    others = sum(1 for _, status in rows if status != wanted)
    if others > 0:
        say(f"{others} of {len(rows)} answers were not {wanted}")
    return sorted(took if status == wanted else int(SECONDS * 1e6) for took, status in rows)
