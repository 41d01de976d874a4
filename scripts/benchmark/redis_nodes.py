"""A private Redis Cluster of a few primaries without replicas, on loopback."""

import re
import subprocess
import time

from .machine import cpu_seconds

# As scripts/stack starts Redis, but the append-only file is never rewritten: a rewrite takes CPU time.
OPTIONS = ["--bind", "127.0.0.1", "--appendonly", "yes", "--appendfsync", "everysec", "--save", "",
           "--stream-node-max-entries", "20", "--auto-aof-rewrite-percentage", "0", "--cluster-enabled", "yes",
           "--cluster-node-timeout", "5000", "--cluster-require-full-coverage", "no"]
SLOTS, SLOTS_A_CALL = 16_384, 2_000
# Port of the cluster's bus, above the port of a node.
BUS = 1_000
WAIT_SECONDS = 30


class RedisNodes:
    """Primaries of a cluster, started by `start`. The slots of the shards go round over them."""

    def __init__(self, folder, port, count, shards):
        self.folder, self.shards, self.processes = folder / f"redis-{count}", shards, []
        self.ports = [port + number for number in range(count)]
        self.url = "redis-cluster://" + ",".join(f"127.0.0.1:{port}" for port in self.ports)

    def start(self):
        for port in self.ports:
            folder = self.folder / str(port)
            folder.mkdir(parents=True)
            command = ["redis-server", "--port", str(port), "--cluster-port", str(port + BUS), *OPTIONS]
            with open(folder / "log", "w") as log:
                self.processes.append(subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log))
        for port in self.ports:
            wait_for(lambda: self.call(port, "PING", check=False).strip() == "PONG", f"Redis at {port} does not answer")
        self.share_slots()
        for number, port in enumerate(self.ports):
            self.call(port, "CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
        for port in self.ports[1:]:
            self.call(self.ports[0], "CLUSTER", "MEET", "127.0.0.1", str(port), str(port + BUS))
        for port in self.ports:
            wait_for(lambda: self.is_whole(port), f"the Redis Cluster of {len(self.ports)} was not made")

    def share_slots(self):
        """Gives the slot of shard n to node n, round and round, and all other slots to the first node."""
        slots = {port: set() for port in self.ports}
        slots[self.ports[0]] = set(range(SLOTS))
        for number in reversed(range(self.shards)):
            slot = int(self.call(self.ports[0], "CLUSTER", "KEYSLOT", f"{{s{number}}}"))
            for port in self.ports:
                slots[port].discard(slot)
            slots[self.ports[number % len(self.ports)]].add(slot)
        for port, owned in slots.items():
            owned = [str(slot) for slot in sorted(owned)]
            for first in range(0, len(owned), SLOTS_A_CALL):
                self.call(port, "CLUSTER", "ADDSLOTS", *owned[first:first + SLOTS_A_CALL])

    def is_whole(self, port):
        lines = self.call(port, "CLUSTER", "INFO").splitlines()
        return "cluster_state:ok" in lines and f"cluster_known_nodes:{len(self.ports)}" in lines

    def call(self, port, *command, check=True):
        command = ["redis-cli", "-e", "-h", "127.0.0.1", "-p", str(port), *command]
        return subprocess.run(command, check=check, capture_output=True, text=True).stdout

    def sum(self, section, pattern):
        """The sum of a figure of INFO over the nodes."""
        found = (re.search(pattern, self.call(port, "INFO", section)) for port in self.ports)
        return sum(int(match[1]) for match in found if match)

    def memory(self):
        return self.sum("memory", r"used_memory:(\d+)")

    def pids(self):
        return [process.pid for process in self.processes]

    def cpu(self):
        return sum(map(cpu_seconds, self.pids()))

    def stop(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait()


def wait_for(condition, failure):
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, failure
        time.sleep(0.05)
