"""Several instances on one database of the stack, and on a Redis Cluster of a few primaries."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from .machine import cpu_seconds, resident_bytes
from .service import Service, free_ports
from .settings import CLAIMED

# Processes of wrk, for any number of instances up to this one.
WRK_PROCESSES = 4
PORT_STEP = 10
START_SECONDS = 60


class Fleet(Service):
    """Instances that share a database, a prefix in Redis, and shards. `start` starts some of them."""

    def __init__(self, stack, port, nodes, shards, name):
        super().__init__(stack, port)
        self.nodes, self.shards, self.first_port = nodes, shards, port
        self.folder = self.stack / "seed" / name
        self.processes, self.ports = [], []
        # The instances that get the load, by port; None for all.
        self.loaded_ports = None
        self.variables |= {
            "COUPONRUSH_REDIS_URL": nodes.url, "COUPONRUSH_REDIS_PREFIX": f"{name}:", "COUPONRUSH_SHARDS": str(shards),
            "COUPONRUSH_MYSQL_URL": re.sub(r"/[^/]*$", f"/{name}", self.variables["COUPONRUSH_MYSQL_URL"]),
            "COUPONRUSH_ETCD_ENDPOINTS": ""}
        # Lines SALER/NAME of coupons without claims, by shard.
        self.fresh = {}

    @property
    def urls(self):
        ports = self.loaded_ports or self.ports
        return [f"http://127.0.0.1:{ports[number % len(ports)]}" for number in range(WRK_PROCESSES)]

    def start(self, count=1):
        self.ports, port = [], self.first_port
        for _ in range(count):
            port = free_ports(port)
            self.ports.append(port)
            port += PORT_STEP
        self.port, self.ops_port = self.ports[0], self.ports[0] + 1
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / "serve.log", "w") as log:
            self.processes = [self.start_one(port, log) for port in self.ports]
        deadline = time.monotonic() + START_SECONDS
        while not all(map(self.sells, self.ports)):
            assert time.monotonic() < deadline, f"the instances do not sell after {START_SECONDS} s"
            if any(process.poll() is not None for process in self.processes):
                sys.exit((self.folder / "serve.log").read_text())
            time.sleep(0.05)

    def start_one(self, port, log):
        addresses = {"COUPONRUSH_HTTP_ADDR": f"127.0.0.1:{port}", "COUPONRUSH_OPS_ADDR": f"127.0.0.1:{port + 1}"}
        return subprocess.Popen([self.program, "serve"], env=self.variables | addresses, stdin=subprocess.DEVNULL,
                                stderr=log)

    def sells(self, port):
        """Whether every shard is open at the instance."""
        status, _, text = self.ask("GET", "/readyz", port=port + 1)
        if status != 200:
            return False
        shards = json.loads(text)["shards"]
        return len(shards) == self.shards and all(shard["gate"]["state"] == "open" for shard in shards)

    def stop(self):
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait()
        self.processes = []

    def make(self, customers, coupons, order):
        """Makes the database, seeds it, and leaves one instance running. `order` shuffles the customers."""
        name = self.variables["COUPONRUSH_MYSQL_URL"].rsplit("/", 1)[1]
        self.mysql_at("couponrush", f"CREATE DATABASE {name}")
        for command in (["migrate"], ["adopt", "--yes"]):
            subprocess.run([self.program, *command], check=True, stdout=subprocess.DEVNULL, env=self.variables)
        self.start()
        self.seed(customers, coupons, order)
        rows = self.mysql("SELECT c.shard, u.username, c.name FROM coupons c JOIN users u ON u.id = c.saler_id "
                          "ORDER BY c.id\\G")
        rows = re.findall(r"shard: (\S+)\nusername: (\S+)\n *name: (\S+)", rows)
        for shard, saler, coupon in rows:
            self.fresh.setdefault(shard, []).append(f"{saler}/{coupon}")

    def coupons(self, count):
        """A file of `count` coupons without claims, equally many of each shard."""
        shards = sorted(self.fresh)[:count]
        lines = [self.fresh[shard].pop() for shard in shards for _ in range(count // len(shards))]
        path = self.folder / "coupons-now.txt"
        path.write_text("".join(line + "\n" for line in lines))
        return path

    def mysql_at(self, database, statements):
        url = self.variables["COUPONRUSH_MYSQL_URL"]
        try:
            self.variables["COUPONRUSH_MYSQL_URL"] = re.sub(r"/[^/]*$", f"/{database}", url)
            return self.mysql(statements)
        finally:
            self.variables["COUPONRUSH_MYSQL_URL"] = url

    def metrics(self):
        """The sum of the metrics of all instances."""
        total = Counter()
        for port in self.ports:
            total.update(self.metrics_at(port + 1))
        return total

    def cpu(self):
        return {"service": sum(cpu_seconds(process.pid) for process in self.processes), "Redis": self.nodes.cpu(),
                "MariaDB": cpu_seconds(self.pid("mariadb"))}

    def resident_bytes(self):
        return sum(resident_bytes(process.pid) for process in self.processes)

    def rewrite_redis_file(self):
        """The nodes never rewrite their files."""

    def redis_memory(self):
        return self.nodes.memory()

    def counters(self):
        """Everything that a turn counts: claims, calls, transactions, CPU, context switches and bytes."""
        metrics = self.metrics()
        counters = {"claims": metrics[CLAIMED], "transactions": metrics["couponrush_ledger_batch_claims_count"],
                    "stored": metrics["couponrush_ledger_stored_total"],
                    # Each call of the claim script that grants something adds one entry to the outbox.
                    "calls": self.nodes.sum("commandstats", r"cmdstat_xadd:calls=(\d+)"),
                    "to Redis": self.nodes.sum("stats", r"total_net_input_bytes:(\d+)"),
                    "from Redis": self.nodes.sum("stats", r"total_net_output_bytes:(\d+)"),
                    "MySQL bytes": sum(map(int, re.findall(r"Value: (\d+)", self.mysql(
                        "SHOW GLOBAL STATUS WHERE Variable_name IN ('Bytes_received', 'Bytes_sent')\\G"))))}
        pids = {"service": [process.pid for process in self.processes], "Redis": self.nodes.pids(),
                "MariaDB": [self.pid("mariadb")]}
        for name, each in pids.items():
            counters[f"switches of {name}"] = sum(map(context_switches, each))
        counters |= {f"CPU of {name}": seconds for name, seconds in self.cpu().items()}
        return counters


def context_switches(pid):
    """Context switches of all threads of a process, voluntary or not."""
    switches = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            text = Path(f"/proc/{pid}/task/{task}/status").read_text()
        except OSError:  # the thread has ended
            continue
        switches += sum(map(int, re.findall(r"ctxt_switches:\s+(\d+)", text)))
    return switches
