"""The command `scripts/archive-times`."""

import argparse
import http.client
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import launcher
from .machine import say
from .plots import plot
from .service import Service
from .settings import ROOT

PARTS = ["year", "months"]
STACK, PORT = "archive-times", 20420
SALER, ORDER_SEED = "shop", 17
# A day of the year: units of its coupon, customers to choose from, and days until the coupon is archived.
DAYS, DAY_UNITS, YEAR_CUSTOMERS, ARCHIVED_AFTER_DAYS = 365, 500, 5_000, 7
THREADS = 4
# Six months: coupons, claims of each, activities of the last one, and coupons that are archived then.
COUPONS, CLAIMS, ACTIVITIES, ARCHIVED = 200, 50_000, 180, 180
WHOLE_SECONDS_MAX, ARCHIVED_SECONDS_MAX, SECONDS_MAX = 60, 10, 300
# The memory of Redis in the last month may be this much above that of the second month.
FLAT_FACTOR = 1.1
SETTINGS = {"COUPONRUSH_ARCHIVE_AFTER": "0", "COUPONRUSH_USER_PER_SECOND": "0", "COUPONRUSH_USER_PER_MINUTE": "0"}


def main(doc):
    parser = argparse.ArgumentParser(usage=argparse.SUPPRESS, add_help=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks")
    parser.add_argument("--no-build", action="store_true")
    args = parser.parse_args()
    if args.help:
        print(doc)
        return
    args.out.mkdir(parents=True, exist_ok=True)
    if args.no_build:
        os.environ[launcher.NO_BUILD] = "1"
    stacks = [f"{STACK}-{name}" for name in ("year", "kept", "months")]
    launcher.ensure_inside_stacks(stacks, ["gnuplot-nox"], ["--bin", "couponrush"])
    if "year" in args.only:
        archived, kept = year(stacks[0], True), year(stacks[1], False)
        plot(args.out / "year.svg", f"A year of daily sales, {DAY_UNITS} claims each", "day", "MB of Redis",
             [("archived after 7 days", archived), ("never archived", kept)])
        early, late = (max(memory for day, memory in archived if first <= day < first + 30) for first in (30, DAYS - 30))
        say(f"archived: {early:.1f} MB in the second month, {late:.1f} MB in the last; never archived: {kept[-1][1]:.1f} MB")
        assert late <= early * FLAT_FACTOR, "the memory of Redis grows"
    if "months" in args.only:
        months(stacks[2])


def year(stack, archives):
    """Sells out a coupon a day. Returns the memory of Redis in MB after each day."""
    service, order, samples = Service(stack, PORT, settings=SETTINGS.items()), random.Random(ORDER_SEED), []
    try:
        service.start_seeded(YEAR_CUSTOMERS, 0, order)
        token = service.add_user(SALER, "saler")
        with ThreadPoolExecutor(THREADS) as pool:
            for day in range(1, DAYS + 1):
                service.add_coupon(SALER, token, f"day-{day}", DAY_UNITS)
                customers = order.sample(service.tokens, DAY_UNITS)
                claims = [pool.submit(claim_all, service.port, day, customers[n::THREADS]) for n in range(THREADS)]
                granted = sum(part.result() for part in claims)
                assert granted == DAY_UNITS, f"day {day}: {granted} claims instead of {DAY_UNITS}"
                if archives and day > ARCHIVED_AFTER_DAYS:
                    change(service, token, f"day-{day - ARCHIVED_AFTER_DAYS}", {"archived": True})
                    # A day of this run is shorter than the half second between two rounds of the archiver.
                    wait_until_archived(service)
                samples.append((day, service.redis_memory() / 1e6))
                if day % 50 == 0:
                    say(f"day {day} of {DAYS}: Redis has {samples[-1][1]:.1f} MB")
        service.audit()
        return samples
    finally:
        service.stop()


def claim_all(port, day, tokens):
    """Claims the coupon of a day for each customer, and returns the number of claims."""
    connection, granted = http.client.HTTPConnection("127.0.0.1", port, timeout=30), 0
    for token in tokens:
        connection.request("PATCH", f"/api/users/{SALER}/coupons/day-{day}", headers={"Authorization": token})
        answer = connection.getresponse()
        answer.read()
        granted += answer.headers["Claim-Result"] == "claimed"
    connection.close()
    return granted


def change(service, token, name, body):
    status, _, text = service.ask("PUT", f"/api/users/{SALER}/coupons/{name}", token, body)
    assert status == 200, f"{name} {body}: {status} {text}"


def wait_until_archived(service):
    """Waits until Redis has followed all coupons that were archived in MySQL."""
    while service.mysql("SELECT COUNT(*) FROM coupons WHERE unloaded AND lags\\G").split()[-1] != "0":
        time.sleep(0.1)


def months(stack):
    service = Service(stack, PORT, settings=SETTINGS.items())
    try:
        service.start()
        saler, customer = service.add_user(SALER, "saler"), service.add_user("alice", "customer")
        # A running service would load coupons while they are filled.
        service.stop()
        fill(service)
        service.start()
        memory = lambda: f"{service.redis_memory() / 1e6:.0f} MB"
        whole = flush(service, customer)
        say(f"{COUPONS} coupons, {COUPONS * CLAIMS:,} claims: a flushed Redis sold again after {whole:.1f} s; {memory()}")
        began = time.monotonic()
        for coupon in range(1, ARCHIVED + 1):
            change(service, saler, f"day-{coupon}", {"archived": True})
        wait_until_archived(service)
        say(f"{ARCHIVED} coupons archived within {time.monotonic() - began:.0f} s; {memory()}")
        less = flush(service, customer)
        say(f"with them archived, a flushed Redis sold again after {less:.1f} s; {memory()}")
        service.audit()
        assert whole <= WHOLE_SECONDS_MAX, f"{whole:.1f} s are more than {WHOLE_SECONDS_MAX}"
        assert less <= ARCHIVED_SECONDS_MAX, f"{less:.1f} s are more than {ARCHIVED_SECONDS_MAX}"
    finally:
        service.stop()


def fill(service):
    """Writes six months of sales into MySQL. The last coupon has an activity of each day, and claims of all of them."""
    last = COUPONS
    service.mysql(f"""
        INSERT INTO users (id, username, kind, password_hash)
            SELECT seq + 1000, CONCAT('customer-', seq), 'customer', '' FROM seq_1_to_1000000;
        INSERT INTO coupons (id, saler_id, name, amount, left_count, face_value, description, scheduled, activity_revision)
            SELECT seq, (SELECT id FROM users WHERE username = '{SALER}'), CONCAT('day-', seq), {CLAIMS + 100}, 100, 5, '',
                seq = {last}, seq = {last} FROM seq_1_to_{COUPONS};
        INSERT INTO activities (coupon_id, name, start_time, end_time)
            SELECT {last}, CONCAT('day ', seq), UNIX_TIMESTAMP() - ({ACTIVITIES} - seq) * 86400 - 600,
                UNIX_TIMESTAMP() - ({ACTIVITIES} - seq) * 86400 + 3600 FROM seq_1_to_{ACTIVITIES};""")
    for coupon in range(1, COUPONS + 1):
        # 7919 is no divisor of a million, so every customer comes once, and neighbouring rows are of distant customers.
        service.mysql(f"""
            INSERT INTO claims (coupon_id, seq, user_id, claimed_at, activity_id)
                SELECT {coupon}, seq, 1001 + (seq * 7919 + {coupon} * 977) % 1000000, UNIX_TIMESTAMP() * 1000 - seq,
                    IF({coupon} = {last}, 1 + seq % {ACTIVITIES}, 0) FROM seq_1_to_{CLAIMS}""")
        if coupon % 50 == 0:
            say(f"{coupon} of {COUPONS} coupons are in MySQL")


def flush(service, customer):
    """Empties Redis, and returns the seconds until the last coupon can be claimed again."""
    service.settle()
    service.redis("FLUSHALL")
    began = time.monotonic()
    while time.monotonic() - began < SECONDS_MAX:
        path = f"/api/users/{SALER}/coupons/day-{COUPONS}"
        if service.ask("PATCH", path, customer)[1].get("Claim-Result") in ("claimed", "already-claimed"):
            return time.monotonic() - began
        time.sleep(0.1)
    raise AssertionError(f"a flushed Redis does not sell again within {SECONDS_MAX} s")
