"""The claim script in Redis and the inserts in MySQL without the service, and this machine's limits that follow."""

import os
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from ..settings import (CLAIMS, CLAIMS_OVER_STATIC, CPU_PER_CLAIM, MANY_OVER_ONE, OF_MANY, OF_ONE, SPREAD, STATIC,
                        TURN_SECONDS)
from . import profile
from .alone_mysql import BATCH, insert_statements, measure_inserts
from .alone_redis import ATTEMPTS, measure_script

AT_ONCE = "of one coupon, all at once"
# The service's share of a claim that does nothing but answer.
ANSWER = "an answer that says OK"
ROUNDS = 3
LIMIT = "estimated limit of claims / static, by the parts"


def run(bench):
    """Measures each part between two turns of the static answer, in several rounds, and adds the medians.

    The turns show the machine's speed. Rates and CPU are scaled to its speed when the claims were measured. Several
    rounds, because the speed may change between two turns.
    """
    report, costs, rates = bench.report, {OF_ONE: [], OF_MANY: [], AT_ONCE: []}, {}
    with bench.service.static_load() as static:
        for _ in range(ROUNDS):
            for claim, coupons in ((OF_ONE, 1), (OF_MANY, SPREAD)):
                costs[claim].append(measure_stores(bench, static, coupons, rates))
            inserts = insert_statements(bench.service, 1)
            _, us = scaled(bench, static, lambda: measure_at_once(bench.service, static, inserts))
            costs[AT_ONCE].append(us)
    for (what, unit), each in rates.items():
        report.add(what, median(each), unit=unit)
    parts = report.facts["alone_us"] = {
        claim: {name: median([us[name] for us in each]) for name in each[0]} for claim, each in costs.items()}
    if {STATIC, CLAIMS} <= report.cpu.keys():
        for us in parts.values():
            us.setdefault(ANSWER, report.cpu[STATIC]["service"])
        add_limits(bench, *(sum(us.values()) for us in parts.values()))


def measure_stores(bench, static, coupons, rates):
    """Adds the rates of Redis and MySQL alone to `rates`; returns the CPU of a claim in both."""
    service, of = bench.service, "one coupon" if coupons == 1 else f"{coupons:,} coupons"
    redis = {}
    for together in ATTEMPTS:
        calls = "1 attempt" if together == 1 else f"{together} attempts"
        rate, redis = scaled(bench, static, lambda: measure_script(service, coupons, together))
        rates.setdefault((f"Redis alone, {of}, {calls} a call", "attempts a second"), []).append(rate)
    inserts = insert_statements(service, coupons)
    rate, mysql = scaled(bench, static, lambda: measure_inserts(service, inserts))
    what = f"MySQL alone, {of}, batches of {BATCH:,}, each committed"
    rates.setdefault((what, "rows a second"), []).append(rate)
    return redis | mysql


def scaled(bench, static, measure):
    """A rate and CPU in microseconds, at the machine's speed when claims were measured."""
    before = static.turn(TURN_SECONDS)
    rate, us = measure()
    speed = (before + static.turn(TURN_SECONDS)) / 2 / (bench.static or before)
    return rate / speed, {name: cost * speed for name, cost in us.items()}


def measure_at_once(service, static, inserts):
    """Static answers a second, and the CPU of each part, while Redis, MySQL and the service are all busy."""
    redis = []
    with ThreadPoolExecutor(1) as pool:
        used, (began, before) = static.cpu()["service"], static.count()
        static.resume()
        inserting = pool.submit(measure_inserts, service, inserts)
        while not inserting.done():
            redis.append(measure_script(service, 1, max(ATTEMPTS))[1]["Redis"])
        used, (ended, after) = static.cpu()["service"] - used, static.count()
        static.pause()
    answered = (after - before)[static.counter]
    # The last run of the script may have outlasted the inserts.
    us = {"Redis": median(redis[:-1] or redis), ANSWER: used / answered * 1e6}
    return answered / (ended - began), inserting.result()[1] | us


def add_limits(bench, one, many, at_once):
    """Adds the best ratios that this machine could reach.

    Assumes that a claim costs the service no more than a static answer, and that all cores are always busy. wrk sends a
    token with each request, so its cost is that of claims.
    """
    report, facts = bench.report, bench.report.facts
    asking = report.cpu[CLAIMS]["wrk"]
    limit = lambda us: os.cpu_count() * 1e6 / (us + asking) / bench.static
    report.add(f"CPU of a claim's parts, measured alone: Redis, MySQL and {ANSWER}", one, unit="µs")
    report.add("the same parts at the same time, each for itself", at_once, unit="µs")
    report.add(f"{LIMIT} alone", limit(one))
    report.add(f"{LIMIT} at the same time", limit(at_once))
    report.add_limit(CPU_PER_CLAIM, one)
    if "profile" in facts:
        # Two signatures and the calls of Redis and MySQL: could be cheaper, but never free.
        own = sum(facts["profile"][part] for part in profile.PARTS if part != "HTTP") * report.cpu[CLAIMS]["service"]
        besides = f"and {own:.1f} µs of the service besides HTTP, by the profile"
        report.add(f"{LIMIT} alone {besides}", limit(one + own))
        report.add(f"{LIMIT} at the same time {besides}: the one that counts", limit(at_once + own))
        report.add_limit(CLAIMS_OVER_STATIC, limit(at_once + own))
    spread = (one + asking) / (many + asking)
    report.add(f"estimated limit of {MANY_OVER_ONE}, by the parts alone", spread)
    if "spread" in bench.parts:
        report.add_limit(MANY_OVER_ONE, spread)
