"""A release build of couponrush on private servers."""

import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time

from .load import Load, Requests
from .machine import cpu_seconds, resident_bytes
from .settings import (CLAIMED, CUSTOMERS, LONG_FILLS, OPEN_ROUNDS, PASSWORD, PROGRAM, QUIET_SECONDS, SAMPLE_SECONDS,
                       SPREAD, STACKS, STUCK_SECONDS, WRK_PROCESSES, responses)

# Coupons that `seed` makes: enough for all parts.
SEEDED_COUPONS = SPREAD + LONG_FILLS + OPEN_ROUNDS + 8
SEEDED_AMOUNT = 10_000_000
# How often a load of claims runs, until all its claims are granted.
CLAIM_ROUNDS_MAX = 3
PORT_STEP = 10


def free_ports(port):
    """The first free port from `port` on whose successor is free, too."""
    while True:
        try:
            for each in (port, port + 1):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", each))
            return port
        except OSError:
            port += PORT_STEP


class Service:
    """One program with one stack of servers, and the customers and coupons that it was seeded with."""

    def __init__(self, stack, port, program=PROGRAM, settings=()):
        self.program, self.stack, self.port = program, STACKS / stack, free_ports(port)
        self.ops_port = self.port + 1
        self.folder, self.process = self.stack / "seed", None
        servers = re.findall(r"^export (\w+)=(.*)$", (self.stack / "env").read_text(), re.M)
        self.variables = dict(os.environ, **dict(servers), RUST_LOG="warn",
                              COUPONRUSH_HTTP_ADDR=f"127.0.0.1:{self.port}",
                              COUPONRUSH_OPS_ADDR=f"127.0.0.1:{self.ops_port}",
                              COUPONRUSH_REGISTRATIONS_PER_MINUTE="0", COUPONRUSH_DRAIN_SECONDS="0",
                              **dict(settings))
        # Tokens of all customers, and requests with these tokens.
        self.tokens, self.everybody = [], None
        self.coupons_used = 0
        # What `shop.sold_out_coupon` has made.
        self.sold_out = None
        # Path of the file of a claimed coupon, and tokens of the coupon's holders; set by the part `claims`.
        self.claimed = None
        # Tokens of customers who hold a whole list of coupons; set by the parts that measure lists.
        self.listers = None

    @property
    def urls(self):
        """The address that each process of wrk asks."""
        return [f"http://127.0.0.1:{self.port}"] * WRK_PROCESSES

    def start(self):
        log = open(self.stack / "serve.log", "w")
        self.process = subprocess.Popen([self.program, "serve"], env=self.variables, stdin=subprocess.DEVNULL,
                                        stderr=log)
        while self.get("/readyz")[0] != 200:
            if self.process.poll() is not None:
                sys.exit((self.stack / "serve.log").read_text())
            time.sleep(0.05)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait()

    def start_seeded(self, customers=CUSTOMERS, coupons=SEEDED_COUPONS, order=random):
        """Starts the service and seeds it. `order` shuffles the customers."""
        self.start()
        self.seed(customers, coupons, order)
        self.everybody = self.requests("everybody", self.tokens)

    def seed(self, customers, coupons, order):
        self.folder.mkdir(parents=True, exist_ok=True)
        seed = ["seed", "--coupons", str(coupons), "--amount", str(SEEDED_AMOUNT), "--customers", str(customers)]
        subprocess.run([self.program, *seed, "--out", self.folder], check=True, stdout=subprocess.DEVNULL,
                       env=self.variables)
        self.tokens = (self.folder / "tokens.txt").read_text().splitlines()
        order.shuffle(self.tokens)

    def ask(self, method, path, token="", body=None, port=None):
        """Status, headers and text of an answer; the status is 0 if the service cannot be reached."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=30)
        headers = {"Authorization": token} if token else {}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()
        except OSError:
            return 0, {}, ""
        finally:
            connection.close()

    def get(self, path, port=None):
        return self.ask("GET", path, port=port)

    def metrics(self):
        return self.metrics_at(self.ops_port)

    def metrics_at(self, port):
        lines = self.get("/metrics", port)[2].splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[:1] != "#")}

    def add_user(self, name, kind):
        """Registers a user and returns a session token."""
        self.ask("POST", "/api/users", body={"username": name, "password": PASSWORD, "kind": kind})
        status, headers, text = self.ask("POST", "/api/auth", body={"username": name, "password": PASSWORD})
        assert status == 200, text
        return headers["Authorization"]

    def add_coupon(self, saler, token, name, amount):
        body = {"name": name, "amount": amount, "stock": 5, "description": "measured"}
        status, _, text = self.ask("POST", f"/api/users/{saler}/coupons", token, body)
        assert status == 201, text

    def wait_until_stored(self):
        """Waits until the ledger is idle: no backlog, and the same number of stored claims twice."""
        before = None
        while (now := self.metrics()) and (now["couponrush_ledger_backlog"]
                                           or now["couponrush_ledger_stored_total"] != before):
            before = now["couponrush_ledger_stored_total"]
            time.sleep(0.05)

    def settle(self):
        """Waits until every claim is in MySQL and deleted from the outbox."""
        while True:
            now = self.metrics()
            if now["couponrush_ledger_backlog"] == 0 and now.get("couponrush_outbox_claims", 1) == 0:
                return
            time.sleep(0.2)

    def resident_bytes(self):
        return resident_bytes(self.process.pid)

    def pid(self, server):
        return int((self.stack / f"{server}.pid").read_text())

    def cpu(self):
        """Seconds of CPU that each program has used so far."""
        return {"service": cpu_seconds(self.process.pid), "Redis": cpu_seconds(self.pid("redis")),
                "MariaDB": cpu_seconds(self.pid("mariadb"))}

    def redis(self, *command):
        command = ["redis-cli", "-u", self.variables["COUPONRUSH_REDIS_URL"], *command]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def rewrite_redis_file(self):
        """Makes Redis rewrite its append-only file now, so that the rewrite does not start during a measurement."""
        self.redis("BGREWRITEAOF")
        while "aof_rewrite_in_progress:1" in self.redis("INFO", "persistence"):
            time.sleep(SAMPLE_SECONDS)

    def redis_memory(self):
        return int(re.search(r"used_memory:(\d+)", self.redis("INFO", "memory"))[1])

    def mysql(self, statements):
        user, password, host, port, name = re.fullmatch(
            r"mysql://([^:]+):([^@]+)@([^:]+):(\d+)/(.+)", self.variables["COUPONRUSH_MYSQL_URL"]).groups()
        command = ["mariadb", "--no-defaults", "--protocol=tcp", "-h", host, "-P", port, "-u", user, name]
        return subprocess.run(command, input=statements, text=True, check=True, stdout=subprocess.PIPE,
                              env=dict(os.environ, MYSQL_PWD=password)).stdout

    def requests(self, name, lines, once=True):
        """Writes the requests of a load to files, an equal share for each process of wrk."""
        processes = len(self.urls)
        files = [self.folder / f"{name}-{number}.txt" for number in range(processes)]
        for number, file in enumerate(files):
            file.write_text("".join(line + "\n" for line in lines[number::processes]))
        return Requests(files, lines, once)

    def fresh_coupon(self):
        """A file with the name of a seeded coupon that has no claims yet."""
        self.coupons_used += 1
        line = (self.folder / "coupons.txt").read_text().splitlines()[self.coupons_used - 1]
        path = self.folder / f"coupon-{self.coupons_used}.txt"
        path.write_text(line + "\n")
        return path

    def static_load(self):
        return Load(self, responses(200), "/healthz")

    def claim_load(self, coupons, requests, counter=CLAIMED, **options):
        """Claims of the coupons in a file, one for each token of `requests`."""
        return Load(self, counter, script=("scripts/load.lua", coupons), requests=requests, **options)

    def request_load(self, counter, requests):
        """Lines of `METHOD PATH TOKEN`, repeated without end."""
        return Load(self, counter, script=("scripts/requests.lua",), requests=requests)

    def claim_all(self, load, wanted):
        """Runs a load until it has been granted `wanted` claims, and waits until they are stored.

        Attempts that were answered 503 are repeated: the load runs again with the same requests.
        """
        before = self.metrics()[CLAIMED]
        for _ in range(CLAIM_ROUNDS_MAX):
            with load:
                load.resume()
                complete = self.wait_until_granted(before, wanted)
            if complete:
                return self.settle()
        raise AssertionError(f"fewer than {wanted} claims were granted: is the machine busy with other work?")

    def wait_until_granted(self, before, wanted, seconds=float("inf")):
        """Waits until the service has granted `wanted` claims more than `before`, or until `seconds` have passed.

        The last hundredth may never be granted: while the machine stands still, attempts are answered 503. Returns
        False if more are missing, and no claim was granted for STUCK_SECONDS.
        """
        granted, began = 0, time.monotonic()
        grew = began
        while granted < wanted and time.monotonic() - began < seconds:
            now = self.metrics()[CLAIMED] - before
            if now > granted:
                granted, grew = now, time.monotonic()
            quiet = time.monotonic() - grew
            if quiet > QUIET_SECONDS and granted > 0.99 * wanted:
                break
            if quiet > STUCK_SECONDS:
                return False
            time.sleep(SAMPLE_SECONDS / 2)
        return True

    def audit(self):
        """Ends the run if `couponrush audit` finds a violated invariant."""
        self.settle()
        result = subprocess.run([self.program, "audit"], capture_output=True, text=True, env=self.variables)
        print(result.stdout + result.stderr, file=sys.stderr)
        if result.returncode != 0:
            sys.exit(f"{self.stack.name}: the audit found violated invariants")
