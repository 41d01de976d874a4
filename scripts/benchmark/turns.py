"""Ratios of two loads that take turns of under a second, so that changes of the machine's speed affect both."""

import itertools


def ratios_by_turns(base, base_seconds, other, seconds):
    """Yields the rate of `other` divided by the mean rate of `base` just before and just after.

    Ends when one of the loads runs out of requests.
    """
    before = base.turn(base_seconds)
    while base.has_another_turn() and other.has_another_turn():
        rate, after = other.turn(seconds), base.turn(base_seconds)
        yield rate / ((before + after) / 2)
        before = after


def compare(base, other, seconds, count):
    """At most `count` ratios of two loads, and the CPU of one answer of each."""
    with base, other:
        ratios = list(itertools.islice(ratios_by_turns(base, seconds, other, seconds), count))
    return ratios, base.cpu_per_answer(), other.cpu_per_answer()


def ratios_by_pairs(base, other, seconds, count):
    """`count` ratios of `other` to `base`, each from two turns, in the order AB, BA, AB..."""
    ratios = []
    for number in range(count):
        assert base.has_another_turn() and other.has_another_turn(), (
            f"the requests of a load suffice for {number} turns; {count} were wanted")
        order = (base, other) if number % 2 == 0 else (other, base)
        rates = {load: load.turn(seconds) for load in order}
        assert all(rates.values()), "a turn had no wanted answers: is the machine busy with other work?"
        ratios.append(rates[other] / rates[base])
    return ratios
