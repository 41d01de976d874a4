"""The command `scripts/bench`: arguments, servers, and the parts one after the other."""

import argparse
import importlib
import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from types import SimpleNamespace

from . import launcher, machine
from .machine import say
from .plots import draw
from .report import Report, span
from .service import Service
from .settings import CLAIM_TURN_SECONDS, ROOT, TURN_SECONDS, TURNS
from .turns import compare, ratios_by_turns

PARTS = ["claims", "refusals", "lists", "spread", "open", "idle", "profile", "alone", "starts"]
# Two services with servers of their own: one gets the claims of the part `claims`, one stays empty.
FILLED_STACK, FRESH_STACK, PORTS = "bench", "bench-fresh", (20280, 20290)


class Bench:
    """A run: the services, the report, and the figures that later parts need."""

    def __init__(self, parts, out, long):
        self.parts, self.out, self.long, self.report = parts, out, long, Report()
        self.filled, self.fresh = (Service(stack, port) for stack, port in zip((FILLED_STACK, FRESH_STACK), PORTS))
        # The service that is measured.
        self.service = self.filled
        # Claims a second and static answers a second, after the part `claims`.
        self.peak = self.static = None

    def compare_with_static(self, what, load, aim=None):
        """Adds the rate of a load, divided by the rate of the static answer, and its CPU per answer."""
        ratios, _, self.report.cpu[what] = compare(self.service.static_load(), load, TURN_SECONDS, TURNS)
        self.report.add_ratios(f"{what} / static", ratios, aim)

    def claim_by_turns(self, count=None, requests=None):
        """Claims of a fresh coupon by turns with the static answer; without `count`, until the requests are used up."""
        service = self.service
        service.rewrite_redis_file()
        coupon = service.fresh_coupon()
        with service.static_load() as static, service.claim_load(coupon, requests or service.everybody) as claims:
            ratios = list(itertools.islice(ratios_by_turns(static, TURN_SECONDS, claims, CLAIM_TURN_SECONDS), count))
            service.claimed = coupon, claims.sent_lines()
        result = SimpleNamespace(ratios=ratios, claims=claims.answered, rates=claims.rates, static_rates=static.rates,
                                 cost=claims.cpu_per_answer(), static_cost=static.cpu_per_answer())
        say(f"{claims.answered:.0f} claims, {median(ratios):.3f} of static {span(ratios)}; µs of CPU: "
            + ", ".join(f"{name} {us:.1f}" for name, us in result.cost.items()))
        return result

    def run(self):
        machine.raise_file_limit()
        self.report.facts |= machine.facts()
        try:
            needed = [self.filled, *([self.fresh] if "claims" in self.parts else [])]
            with ThreadPoolExecutor() as pool:
                list(pool.map(Service.start_seeded, needed))
            for part in self.parts:
                if part == "starts":
                    self.service.audit()
                say(f"{part} ...")
                importlib.import_module(f".parts.{part}", __package__).run(self)
            if "starts" not in self.parts:
                self.service.audit()
        finally:
            self.filled.stop()
            self.fresh.stop()
        self.report.write(self.out)
        draw(self.report.series, self.out)


def main(description):
    parser = argparse.ArgumentParser(usage=argparse.SUPPRESS, add_help=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--out", type=Path, default=ROOT / "docs/benchmarks")
    arguments = parser.parse_args()
    if arguments.help:
        print(description.strip())
        return
    launcher.ensure_inside_stacks([FILLED_STACK, FRESH_STACK], ["gnuplot-nox", "linux-perf"],
                                  ["--bins", "--example", "open_loop"])
    Bench(arguments.only, arguments.out, arguments.long).run()
