"""Paths, sizes and times, and the labels that several parts share."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RELEASE = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release"
PROGRAM = RELEASE / "couponrush"
STACKS = ROOT / ".stack"

CUSTOMERS = 1_000_000
CONNECTIONS = int(os.environ.get("BENCH_CONNECTIONS", "256"))
# Processes of wrk per load, with one thread each.
WRK_PROCESSES = 2
# Turns of a load, and seconds of a turn. Every turn begins with a fifth of the time uncounted.
TURNS, TURN_SECONDS = 20, 0.3
# Turns of claims are longer, because a turn ends when MySQL has the claims. The first coupon has turns until its end.
CLAIM_TURNS, CLAIM_TURN_SECONDS = 12, 0.8
# Highest share of unwanted answers in a load.
UNWANTED_MAX = 0.05
# Seconds of claims without a pause; --long fills this number of coupons instead.
FILL_SECONDS, LONG_FILLS = 60, 10
# Customers of the first coupon. The remaining customers, in two halves, compare the first coupon with a fresh coupon.
FIRST_CUSTOMERS = 700_000
# Coupons in the comparison of many coupons with a single coupon.
SPREAD = 1_000
OPEN_ROUNDS = 9
SAMPLE_SECONDS, QUIET_SECONDS, STUCK_SECONDS = 0.2, 3, 15
# Settings of the private MariaDB; see scripts/stack.
BUFFER_POOL = "1G"
PASSWORD = "bench-password"

RESPONSES = "couponrush_responses_total"
ATTEMPTS = "couponrush_attempts_total"

# Labels of results that several parts use: CPU for an answer, or a ratio with an estimated limit.
STATIC = "static answer (/healthz)"
CLAIMS = "a claim, by turns with the static answer"
OF_ONE, OF_MANY = "a claim, all of one coupon", f"a claim, of {SPREAD:,} coupons"
CLAIMS_OVER_STATIC = "claims that succeed / static"
CPU_PER_CLAIM = "CPU per claim: service, Redis and MySQL"
MANY_OVER_ONE = f"claims of {SPREAD:,} coupons / claims of one"


def responses(status):
    """The metric that counts answers with this status."""
    return f'{RESPONSES}{{status="{status}"}}'


def attempts(result):
    """The metric that counts attempts with this result."""
    return f'{ATTEMPTS}{{result="{result}"}}'


CLAIMED = attempts("claimed")
