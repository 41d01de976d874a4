"""A control for `scripts/cost`: what refusals from memory cost with several instances. They need neither Redis nor MySQL."""

from .machine import say
from .settings import attempts
from .shop import sold_out_coupon
from .spread import spread

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
