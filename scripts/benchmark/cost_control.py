"""Controls for `scripts/cost`, which show what several instances cost because they share the cores of one machine.

Refusals from memory need neither Redis nor MySQL. Claims are measured with several running instances of which one has the
whole load, and with the same instances that have the load together.
"""

from .machine import say
from .settings import attempts
from .shop import sold_out_coupon
from .spread import spread

# Running instances, and those among them that have the whole load one after the other.
INSTANCES, LOADED = 4, 2
ALONE, ONE_OF_SEVERAL, TOGETHER = "one instance", f"{INSTANCES} instances, one with the load", f"{INSTANCES} instances together"
# So short that the customers suffice for all turns of a visit. A customer who asks again and again is refused by admission.
TURN_SECONDS = 0.3


def measure(fleet, instances, rounds, turns, order):
    """Microseconds of CPU for a refusal, by the number of instances. Visits all numbers in random order in each round."""
    fleet.start()
    coupon, others = sold_out_coupon(fleet)
    fleet.stop()
    costs = {count: [] for count in instances}
    for _ in range(rounds):
        for count in order.sample(instances, len(instances)):
            costs[count] += visit(fleet, count, coupon, others, turns)
            say(f"{count} instances: {costs[count][-1]:.1f} µs of CPU a refusal")
    return {count: spread(each) for count, each in costs.items()}


def visit(fleet, count, coupon, others, turns):
    fleet.start(count)
    try:
        requests = fleet.requests("control", others)
        with fleet.claim_load(coupon, requests, attempts("sold-out")) as load:
            load.turn(TURN_SECONDS)  # connections, and the claims that every instance reads once
            costs = []
            while len(costs) < turns and load.has_another_turn():
                costs.append(cost_of_turn(fleet, load))
            return costs
    finally:
        fleet.stop()


def cost_of_turn(fleet, load):
    used = fleet.cpu()["service"]
    load.turn(TURN_SECONDS)
    return (fleet.cpu()["service"] - used) / load.latest * 1e6


def claims(run, fleet):
    """Microseconds of CPU for a claim, by the kind of visit. Every round visits one instance before and after the others."""
    costs = {kind: [] for kind in (ALONE, ONE_OF_SEVERAL, TOGETHER)}
    for _ in range(run.arguments.rounds):
        for kind in (ALONE, TOGETHER, ONE_OF_SEVERAL, ALONE):
            fleet.start(1 if kind == ALONE else INSTANCES)
            try:
                loaded = [[port] for port in fleet.ports[:LOADED]] if kind == ONE_OF_SEVERAL else [None]
                for ports in loaded:
                    fleet.loaded_ports = ports
                    costs[kind] += run.claim_costs(fleet, len(loaded))
            finally:
                fleet.loaded_ports = None
                fleet.stop()
            say(f"{kind}: {costs[kind][-1]:.1f} µs of CPU a claim")
    return {kind: spread(each) for kind, each in costs.items()}


def claims_text(costs):
    base = costs[ALONE]["median"]
    lines = ["## Control: claims at one of several instances", "",
             "One shard on one primary, 16 coupons. Where several instances run and one of them has the whole load, a claim costs "
             "nearly what it costs with one instance. The same instances cost more when they have the load together: they then "
             "take turns on the two cores of this machine, find the caches filled by each other, and divide the claims into more "
             "transactions. Instances on machines of their own do not share cores:", "",
             "| instances | sum, µs a claim | growth |", "|---|---:|---:|"]
    for kind, each in costs.items():
        lower, upper = each["quartiles"]
        lines.append(f"| {kind} | {each['median']:.1f} ({lower:.1f} to {upper:.1f}) | {each['median'] / base:.2f} |")
    return [*lines, ""]


def text(control):
    base = control["1"]["median"]
    lines = ["## Control: answers without Redis and MySQL", "",
             "A refusal of a sold-out coupon comes from the memory of an instance, and no other program takes part. As far as "
             "these figures do not grow, several processes on the same cores cost nothing by themselves, and what grows above is "
             "the work for claims:", "", "| instances | service, µs a refusal | growth |", "|---:|---:|---:|"]
    for count, each in control.items():
        lower, upper = each["quartiles"]
        lines.append(f"| {count} | {each['median']:.1f} ({lower:.1f} to {upper:.1f}) | {each['median'] / base:.2f} |")
    return [*lines, ""]
