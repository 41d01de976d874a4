"""Claims: rate, CPU and memory, rows stored, and whether claims slow down as the stores fill."""

import threading
import time
from statistics import median

from ..machine import say
from ..settings import (CLAIM_TURN_SECONDS, CLAIM_TURNS, CLAIMED, CLAIMS, CLAIMS_OVER_STATIC, CPU_PER_CLAIM, CUSTOMERS,
                        FILL_SECONDS, FIRST_CUSTOMERS, LONG_FILLS, SAMPLE_SECONDS, STATIC, TURN_SECONDS, TURNS)
from ..report import span
from ..turns import compare


def run(bench):
    filled, fresh, report = bench.filled, bench.fresh, bench.report
    memory = filled.redis_memory()
    first = bench.claim_by_turns(requests=filled.requests("first-of-all", filled.tokens[:FIRST_CUSTOMERS]))
    filled.settle()
    memory = (filled.redis_memory() - memory) / first.claims
    report.add("Redis memory per claim, one claim a user, outbox drained", memory, 150, "bytes", at_most=True)
    coupon, _ = filled.claimed
    after = f"after {(first.claims + fill(bench)) / 1e6:.1f} million claims"
    of_coupon = compare_coupons(filled, coupon)
    of_all = compare_services(bench, after)
    filled.audit()
    # The long run measures all other parts on the filled service.
    bench.service, other = (filled, fresh) if bench.long else (fresh, filled)
    other.stop()
    add_rates(bench, [first, bench.claim_by_turns(CLAIM_TURNS)])
    report.add_ratios(f"claims of a coupon after {first.claims:,.0f} of it / of a fresh one", of_coupon, 0.9)
    report.add_ratios(f"claims {after} / claims of a service that has none", of_all, 0.9)


def fill(bench):
    """Claims coupons without a pause for a minute, or LONG_FILLS coupons; returns the number of claims."""
    service = bench.service
    took, claims, stored, rates = 0.0, 0.0, 0.0, []
    while (len(rates) < LONG_FILLS) if bench.long else (took < FILL_SECONDS):
        service.rewrite_redis_file()
        # One second more, so that the last sample is past the minute.
        samples = fill_coupon(service, float("inf") if bench.long else FILL_SECONDS + 1 - took)
        took, claims, stored = (total + more for total, more in zip((took, claims, stored), samples[-1]))
        bench.report.series.setdefault("fill", samples)
        rates.append(samples[-1][1] / samples[-1][0])
        say(f"coupon {len(rates)}: {samples[-1][1]:,.0f} claims, {rates[-1]:,.0f} a second")
    bench.report.facts["fills"] = rates
    bench.report.add(f"rows stored while claims come in / claims answered, in {took:.0f} s without a pause "
                     "(the rest is stored afterwards)", stored / claims, 0.95)
    return claims


def fill_coupon(service, seconds):
    """Claims one fresh coupon; returns samples of seconds, claims, rows stored and backlog."""
    sampler = Sampler(service)
    with service.claim_load(service.fresh_coupon(), service.everybody) as load:
        sampler.sample()
        load.resume()
        sampler.start()
        # The last claims come from one process alone, which may repeat its last token.
        complete = service.wait_until_granted(sampler.samples[0][1], CUSTOMERS - 5_000, seconds)
        assert complete, f"claims stopped before the coupon had {CUSTOMERS - 5_000:,}"
        samples = sampler.end()
    service.settle()
    return [[now - then for now, then in zip(sample[:3], samples[0])] + [sample[3]] for sample in samples]


class Sampler(threading.Thread):
    """Samples the time, the claims granted, the rows stored and the backlog, five times a second."""

    def __init__(self, service):
        super().__init__(daemon=True)
        self.service, self.samples, self.stopped = service, [], threading.Event()

    def run(self):
        while not self.stopped.wait(SAMPLE_SECONDS):
            self.sample()

    def sample(self):
        now = self.service.metrics()
        self.samples.append((time.monotonic(), now[CLAIMED], now["couponrush_ledger_stored_total"],
                             now["couponrush_ledger_backlog"]))

    def end(self):
        self.stopped.set()
        self.join()
        return self.samples


def compare_coupons(service, coupon):
    """Ratios of a claimed coupon to a fresh one, by customers who hold the same number of claims."""
    rest = service.tokens[FIRST_CUSTOMERS:]
    ratios, _, _ = compare(service.claim_load(service.fresh_coupon(), service.requests("of-fresh", rest[::2])),
                           service.claim_load(coupon, service.requests("of-filled", rest[1::2])), TURN_SECONDS, TURNS)
    return ratios


def compare_services(bench, after):
    """Ratios of the filled service to the fresh one."""
    services, cpu = (bench.fresh, bench.filled), bench.report.cpu
    for service in services:
        service.rewrite_redis_file()
    loads = (service.claim_load(service.fresh_coupon(), service.everybody) for service in services)
    ratios, *costs = compare(*loads, CLAIM_TURN_SECONDS, TURNS)
    cpu["a claim, by turns: of a service that has none"], cpu[f"a claim, by turns: {after}"] = costs
    return ratios


def add_rates(bench, turns):
    """Adds rates and CPU of claims, each as the median of two coupons that were claimed minutes apart.

    CPU is a median as the rates are, so that the limits of the part `alone` compare figures of the same time.
    """
    report = bench.report
    bench.peak = median([rate for each in turns for rate in each.rates])
    bench.static = median([rate for each in turns for rate in each.static_rates])
    for what, costs in ((STATIC, [each.static_cost for each in turns]), (CLAIMS, [each.cost for each in turns])):
        report.cpu[what] = {name: median([cost[name] for cost in costs]) for name in costs[0]}
    report.add(STATIC, bench.static, unit="a second")
    report.add("claims that succeed, while the ledger stores them", bench.peak, unit="a second")
    report.add_ratios(CLAIMS_OVER_STATIC, [ratio for each in turns for ratio in each.ratios], 0.6)
    costs = [sum(us for name, us in each.cost.items() if name != "wrk") for each in turns]
    report.add(CPU_PER_CLAIM, median(costs), 20, f"µs {span(costs)}", at_most=True)
    report.add("CPU per claim / the service's CPU per static answer",
               median([cost / each.static_cost["service"] for cost, each in zip(costs, turns)]))
    report.facts["claims by turns"] = [vars(each) for each in turns]
