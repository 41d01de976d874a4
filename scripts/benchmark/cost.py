"""The command `scripts/cost`: what a claim costs with several instances, shards and Redis primaries."""

import argparse
import contextlib
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from . import cost_constants, cost_control, cost_profile, cost_report, launcher, machine
from .fleet import WRK_PROCESSES, Fleet
from .machine import elapsed, say
from .redis_nodes import RedisNodes
from .settings import CONNECTIONS, ROOT, STACKS

STACK, PORT, REDIS_PORT, PORTS_APART = "cost", 20600, 23100, 40
INSTANCES, SHARDS, PRIMARIES = (1, 2, 4), (1, 4, 16), (1, 2, 3)
# Coupons that are claimed at the same time. As many as the most shards, so that every shard has one.
COUPONS = 16
# Customers, and those among them who claim in a visit.
CUSTOMERS, CLAIMERS, ORDER_SEED = 300_000, 160_000, 17
BUFFER_POOL = "3G"
ROUNDS, TURNS, TURN_SECONDS, IDLE_SECONDS = 5, 4, 0.6, 1
# Visits of other configurations between two visits of the base.
BASE_EVERY = 4
# Connections of wrk with which nearly each call of Redis carries one attempt.
FEW_CONNECTIONS = WRK_PROCESSES


@dataclass(frozen=True)
class Configuration:
    instances: int
    shards: int = 1
    primaries: int = 1
    coupons: int = COUPONS
    connections: int = CONNECTIONS

    def label(self):
        return (f"{self.instances} instances, {self.shards} shards, {self.primaries} primaries, "
                f"{self.coupons} coupons, {self.connections} connections")


BASE = Configuration(1)
# All configurations but the base: the grid, one coupon alone, and calls with one attempt.
OTHERS = ([Configuration(instances, shards, primaries) for shards in SHARDS for primaries in PRIMARIES
           if primaries <= shards for instances in INSTANCES if (instances, shards) != (1, 1)]
          + [Configuration(instances, coupons=1) for instances in INSTANCES]
          + [Configuration(1, connections=FEW_CONNECTIONS)])
PROFILED = [BASE, Configuration(2), Configuration(4), Configuration(1, 16, 3), Configuration(4, 16, 3)]


class CostRun:
    """The clusters and fleets of a run, and the turns of all visits."""

    def __init__(self, arguments):
        self.arguments, self.random, self.visits = arguments, random.Random(ORDER_SEED), []
        self.profiles, self.empty_redis, self.discarded = [], None, 0
        folder = STACKS / STACK / "clusters"
        self.nodes = {count: RedisNodes(folder, REDIS_PORT + 10 * count, count, max(SHARDS)) for count in PRIMARIES}
        # The base has a fleet of its own. Otherwise its customers would hold many more claims than the others'.
        keys = [("base", 1, 1)] + [("cost", shards, primaries) for shards in SHARDS for primaries in PRIMARIES
                                   if primaries <= shards]
        self.fleets = {key: Fleet(STACK, PORT + PORTS_APART * number, self.nodes[key[2]], key[1],
                                  "_".join(map(str, key))) for number, key in enumerate(keys)}

    def fleet(self, configuration):
        kind = "base" if configuration == BASE else "cost"
        return self.fleets[kind, configuration.shards, configuration.primaries]

    def run(self):
        try:
            for nodes in self.nodes.values():
                nodes.start()
            self.empty_redis = self.nodes[1].memory()
            say("seeding ...")
            with ThreadPoolExecutor(len(self.fleets)) as pool:
                list(pool.map(self.make, self.fleets.values()))
            constants, ratios = cost_constants.before_the_rounds(self)
            for number in range(self.arguments.rounds):
                say(f"round {number + 1} of {self.arguments.rounds} ...")
                self.round(number)
            say("profiles ...")
            for configuration in PROFILED:
                self.profile(configuration)
            controls = self.controls()
            for fleet in self.fleets.values():
                fleet.start()
                fleet.audit()
                fleet.stop()
            return constants | cost_constants.disk(self.fleets.values()), ratios, controls
        finally:
            for fleet in self.fleets.values():
                fleet.stop()
            for nodes in self.nodes.values():
                nodes.stop()

    def run_controls(self):
        """Only the controls, with servers of their own."""
        try:
            self.nodes[1].start()
            self.make(self.fleets["base", 1, 1])
            return self.controls()
        finally:
            self.fleets["base", 1, 1].stop()
            self.nodes[1].stop()

    def controls(self):
        say("controls ...")
        fleet, arguments = self.fleets["base", 1, 1], self.arguments
        refusals = cost_control.measure(fleet, INSTANCES, arguments.rounds, arguments.turns, self.random)
        return {"control": refusals, "control_of_claims": cost_control.claims(self, fleet)}

    def make(self, fleet):
        visits = 13 * self.arguments.rounds + 3
        fleet.make(CUSTOMERS, COUPONS * visits, random.Random(ORDER_SEED))
        fleet.stop()

    def round(self, number):
        """Visits every configuration once, and the base before, after and in between."""
        others = self.random.sample(OTHERS, len(OTHERS))
        self.visit(number, BASE)
        for first in range(0, len(others), BASE_EVERY):
            for configuration in others[first:first + BASE_EVERY]:
                self.visit(number, configuration)
            self.visit(number, BASE)

    def visit(self, number, configuration):
        """Measures a configuration, unless the machine is too busy with other work for answers in time."""
        try:
            self.measure(number, configuration)
        except AssertionError as error:
            say(f"{configuration.label()}: discarded, {error}")
            self.discarded += 1

    def measure(self, number, configuration):
        idle, turns = self.take_turns(configuration)
        self.visits.append({"round": number, "configuration": vars(configuration), "idle": idle, "turns": turns})
        total = cost_report.median_of(turns, cost_report.total_us)
        say(f"{configuration.label()}: {total:.1f} µs of CPU a claim")

    def profile(self, configuration):
        """One more visit, with perf. Its turns cost more, so they are not among the results."""
        profile = cost_profile.Profile(self.fleet(configuration))
        _, turns = self.take_turns(configuration, profile)
        claims = sum(turn["claims"] for turn in turns)
        parts, libraries = (cost_profile.per_claim(each, claims) for each in profile.seconds())
        self.profiles.append({"configuration": vars(configuration), "parts": parts, "libraries": libraries})

    def take_turns(self, configuration, during=None):
        """Starts the instances, and returns the cores used without a load, and all turns. `during` is entered for the turns."""
        fleet = self.fleet(configuration)
        fleet.start(configuration.instances)
        try:
            idle = self.idle(fleet)
            turns = self.claim_turns(fleet, configuration, self.arguments.turns, during)
        finally:
            fleet.stop()
        return idle, turns

    def claim_turns(self, fleet, configuration, count, during=None):
        """Up to `count` turns in which customers claim fresh coupons."""
        turns, first = [], self.random.randrange(CUSTOMERS - CLAIMERS)
        requests = fleet.requests("now", fleet.tokens[first:first + CLAIMERS])
        load = fleet.claim_load(fleet.coupons(configuration.coupons), requests, connections=configuration.connections)
        with load:
            load.turn(TURN_SECONDS / 2)  # connections and caches
            with during or contextlib.nullcontext():
                while len(turns) < count and load.has_another_turn():
                    turns.append(self.turn(fleet, load))
        return turns

    def claim_costs(self, fleet, parts):
        """Microseconds of CPU for a claim in each turn of a visit that has `parts` such parts."""
        return list(map(cost_report.total_us, self.claim_turns(fleet, BASE, self.arguments.turns // parts)))

    def idle(self, fleet):
        """Cores that each program uses without a load."""
        used, began = fleet.cpu(), time.monotonic()
        time.sleep(IDLE_SECONDS)
        took = time.monotonic() - began
        return {name: (seconds - used[name]) / took for name, seconds in fleet.cpu().items()}

    def turn(self, fleet, load):
        """What each counter has grown by, and the CPU time of all other programs."""
        before, machine_before, began = fleet.counters(), machine.cpu_of_all(), time.monotonic()
        wrk = load.cpu()["wrk"]
        load.turn(TURN_SECONDS)
        wrk = load.cpu()["wrk"] - wrk
        took, after, machine_after = time.monotonic() - began, fleet.counters(), machine.cpu_of_all()
        turn = {name: value - before[name] for name, value in after.items()}
        busy, steal = (now - then for now, then in zip(machine_after, machine_before))
        ours = wrk + sum(value for name, value in turn.items() if name.startswith("CPU of "))
        return turn | {"seconds": took, "rate": load.rates[-1], "CPU of wrk": wrk, "others' CPU": busy - ours,
                       "steal": steal}


def main(description):
    parser = argparse.ArgumentParser(usage=argparse.SUPPRESS, add_help=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--control", action="store_true")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/benchmarks")
    arguments = parser.parse_args()
    if arguments.help:
        print(description.strip())
        return
    launcher.ensure_inside_stacks([STACK], ["gnuplot-nox", "linux-perf"], ["--bin", "couponrush"], BUFFER_POOL)
    machine.raise_file_limit()
    run = CostRun(arguments)
    if arguments.control:
        return cost_report.write(arguments.out, cost_report.read(arguments.out) | run.run_controls())
    facts = machine.facts()
    constants, ratios, controls = run.run()
    facts |= {"rounds": arguments.rounds, "turns": arguments.turns, "turn_seconds": TURN_SECONDS,
              "discarded": run.discarded, "took": elapsed()}
    result = cost_report.result_of(facts, run.visits, run.profiles, constants, ratios)
    cost_report.write(arguments.out, result | controls)
