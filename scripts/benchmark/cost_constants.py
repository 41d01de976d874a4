"""Costs that `couponrush size` needs besides those of the configurations: refusals, logins, memory, disk, bytes."""

import os
import signal
import socket
import time
from statistics import median

from .machine import say
from .parts.idle import hold_connections
from .settings import CLAIMED, PASSWORD, TURN_SECONDS, attempts
from .shop import sold_out_coupon

# Customers of the base fleet in this order: claims for the memory of Redis, claims while MySQL is frozen, and the rest for
# claims and refusals by turns. Then hashed passwords.
STORED, WAITING, LOGINS = 60_000, 40_000, 60
REFUSAL_TURNS, CONNECTIONS = 10, 4_000
SECONDS_MAX = 60


def before_the_rounds(run):
    """Constants that need customers without claims, and ratios to the cost of a claim."""
    base, widest = run.fleets["base", 1, 1], run.fleets["cost", 16, 1]
    constants = instances_memory(base, widest)
    base.start()
    try:
        constants |= http_bytes(base) | redis_memory(base, run.empty_redis)
        ratios = {"service_refusal_us": refusal_ratio(base), "login_us": login_ratio(base)}
    finally:
        base.stop()
    say(f"constants: {constants}, {ratios}")
    return constants, ratios


def instances_memory(base, widest):
    """Memory of an instance that has just started, of each further shard, and of a connection."""
    resident = {}
    for fleet in (base, widest):
        fleet.start()
        try:
            resident[fleet] = fleet.resident_bytes()
            if fleet is base:
                with hold_connections(fleet.port, CONNECTIONS):
                    connection = (fleet.resident_bytes() - resident[base]) / CONNECTIONS
        finally:
            fleet.stop()
    shards = (resident[widest] - resident[base]) / (widest.shards - base.shards)
    return {"instance_bytes": resident[base], "instance_shard_bytes": round(max(0, shards)),
            "connection_bytes": round(connection)}


def http_bytes(fleet):
    """Bytes of an attempt and of the answer that grants a unit, as `wrk` sends and gets them."""
    coupon = fleet.coupons(1).read_text().strip()
    saler, name = coupon.split("/", 1)
    request = (f"PATCH /api/users/{saler}/coupons/{name} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
               f"Authorization: {fleet.tokens[-1]}\r\n\r\n").encode()
    with socket.create_connection(("127.0.0.1", fleet.port)) as connection:
        connection.sendall(request)
        answer = connection.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 201"), answer
    return {"request_bytes": len(request), "answer_bytes": len(answer)}


def redis_memory(fleet, empty):
    """Memory of Redis without data, for a stored claim, and on top for a claim that MySQL does not have."""
    coupon = fleet.coupons(1)
    before = fleet.redis_memory()
    fleet.claim_all(fleet.claim_load(coupon, fleet.requests("stored", fleet.tokens[:STORED])), STORED - 100)
    stored = (fleet.redis_memory() - before) / claims_in(fleet, coupon)
    before, granted = fleet.redis_memory(), fleet.metrics()[CLAIMED]
    load = fleet.claim_load(coupon, fleet.requests("waiting", fleet.tokens[STORED:STORED + WAITING]))
    with load:
        os.kill(fleet.pid("mariadb"), signal.SIGSTOP)
        try:
            load.resume()
            fleet.wait_until_granted(granted, WAITING - 100, SECONDS_MAX)
            load.halt()
            time.sleep(0.5)
            granted = fleet.metrics()[CLAIMED] - granted
            waiting = (fleet.redis_memory() - before) / granted - stored
        finally:
            os.kill(fleet.pid("mariadb"), signal.SIGCONT)
    assert granted > 0.5 * WAITING, f"{granted} claims were granted while MySQL was frozen"
    return {"redis_bytes": empty, "redis_claim_bytes": round(stored), "redis_waiting_bytes": round(waiting)}


def claims_in(fleet, coupon):
    saler, name = coupon.read_text().strip().split("/", 1)
    rows = fleet.mysql("SELECT COUNT(*) FROM claims JOIN coupons ON coupons.id = coupon_id JOIN users ON users.id = "
                       f"saler_id WHERE username = '{saler}' AND name = '{name}'\\G")
    return int(rows.split()[-1])


def refusal_ratio(fleet):
    """The service's CPU for a refusal from memory, divided by its CPU for a claim, by turns."""
    coupon, others = sold_out_coupon(fleet)
    rest = fleet.requests("rest", fleet.tokens[STORED + WAITING:])
    refusals = fleet.claim_load(coupon, fleet.requests("refused", others), attempts("sold-out"))
    with refusals, fleet.claim_load(fleet.coupons(1), rest) as claims:
        for load in (refusals, claims):
            load.turn(TURN_SECONDS)
            load.used, load.answered = {}, 0.0
        for _ in range(REFUSAL_TURNS):
            if refusals.has_another_turn() and claims.has_another_turn():
                claims.turn(TURN_SECONDS)
                refusals.turn(TURN_SECONDS)
        return refusals.cpu_per_answer()["service"] / claims.cpu_per_answer()["service"]


def login_ratio(fleet):
    """The service's CPU for a password hash, divided by its CPU for a claim just before and after.

    Registrations are measured, because seeded users share one hash, which the service hashes only once.
    """
    with fleet.claim_load(fleet.coupons(1), fleet.requests("rest", fleet.tokens[STORED + WAITING:])) as claims:
        claims.turn(TURN_SECONDS)
        used = fleet.cpu()["service"]
        for number in range(LOGINS):
            body = {"username": f"hashed-{number}", "password": PASSWORD, "kind": "customer"}
            status, _, text = fleet.ask("POST", "/api/users", body=body)
            assert status == 201, text
        used = fleet.cpu()["service"] - used
        claims.turn(TURN_SECONDS)
        return used / LOGINS * 1e6 / claims.cpu_per_answer()["service"]


def disk(fleets):
    """Disk of MySQL for a claim and for a user, from the files of all fleets."""
    sizes = {"claims": 0, "users": 0}
    rows = dict(sizes)
    for fleet in fleets:
        name = fleet.variables["COUPONRUSH_MYSQL_URL"].rsplit("/", 1)[1]
        for table in sizes:
            sizes[table] += (fleet.stack / "mariadb" / name / f"{table}.ibd").stat().st_size
            rows[table] += int(fleet.mysql(f"SELECT COUNT(*) FROM {table}\\G").split()[-1])
    return {"mysql_claim_bytes": round(sizes["claims"] / rows["claims"]),
            "mysql_user_bytes": round(sizes["users"] / rows["users"])}


def scaled(ratios, rows, is_base):
    """Ratios to the cost of a claim, as times on the machine of the rounds."""
    base = median(row["cpu_us"]["service"]["median"] for row in rows if is_base(row))
    return {name: round(ratio * base, 1) for name, ratio in ratios.items()}
