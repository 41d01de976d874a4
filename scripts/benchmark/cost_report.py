"""The results of `scripts/cost`: medians and quartiles over all turns, as JSON, Markdown and a plot."""

import json
from statistics import linear_regression, mean, median

from . import cost_control, cost_profile
from .cost_constants import scaled
from .plots import plot
from .report import SERVER_SETTINGS
from .spread import spread

PROGRAMS = ("service", "Redis", "MariaDB")
GROWTH_MAX = 0.1
BASE = {"instances": 1, "shards": 1, "primaries": 1, "coupons": 16}
# What the cost of a program grows with, the counter of it, and the names of both constants.
GROWS_WITH = {"service": ("calls", "service_attempt_us", "service_call_us"),
              "Redis": ("calls", "redis_attempt_us", "redis_call_us"),
              "MariaDB": ("transactions", "mysql_row_us", "mysql_transaction_us")}
METHOD = """## Method

Private servers on loopback addresses. Every round visits all configurations in random order. A visit starts the
instances, lets 160,000 customers claim fresh coupons by `wrk`, waits until MySQL has all claims, and stops the
instances. Four processes of `wrk` ask, whatever the number of instances. The base (one instance, one shard, one primary,
16 coupons) is visited before, after and in between.

- CPU time is what the kernel reports for all instances, all primaries of the cluster and MariaDB. It contains the work of
  background tasks. `wrk` is not part of the cost, but runs on the same cores.
- "Growth" divides the cost of a turn by the cost of the base, the mean of the visits just before and just after.
- "Attempts a call" divides the claims by the entries of the outbox. Each call of the claim script adds one entry.
- The shards' slots go round over the primaries. Every shard has equally many of the coupons. Redis never rewrites its
  append-only file during the run.
- Times in the constants come from a straight line through the medians of all configurations, scaled to the median cost of
  the base, without the CPU of idle instances. Sizes of tables are sizes of files, divided by rows.
"""


def us(turn, name):
    """Microseconds of CPU of a program for one claim."""
    return turn[f"CPU of {name}"] / turn["claims"] * 1e6


def total_us(turn):
    return sum(us(turn, name) for name in PROGRAMS)


def median_of(turns, figure):
    return median(figure(turn) for turn in turns)


def with_growth(visits):
    """Adds the cost of the nearest visits of the base to each visit."""
    costs = [median_of(visit["turns"], total_us) if is_base(visit) else None for visit in visits]
    for place, visit in enumerate(visits):
        near = [next((cost for cost in side if cost), None) for side in (costs[place::-1], costs[place:])]
        visit["base_us"] = mean(cost for cost in near if cost)
    return visits


def is_base(visit):
    configuration = visit["configuration"]
    return all(configuration[name] == value for name, value in BASE.items()) and is_busy(configuration)


def is_busy(configuration):
    """Whether so many connections ask that all cores are busy."""
    return configuration["connections"] > 4


def summaries(visits):
    """One summary for each configuration, in the order of the table."""
    groups = {}
    for visit in with_growth(visits):
        groups.setdefault(tuple(visit["configuration"].items()), []).append(visit)
    order = lambda configuration: [not is_busy(configuration), configuration["coupons"] == 1, configuration["shards"],
                                   configuration["primaries"], configuration["instances"]]
    return sorted((summary(dict(key), group) for key, group in groups.items()),
                  key=lambda each: order(each["configuration"]))


def summary(configuration, visits):
    turns = [turn for visit in visits for turn in visit["turns"]]
    base = median(visit["base_us"] for visit in visits)
    per_claim = lambda name: median_of(turns, lambda turn: turn[name] / turn["claims"])
    idle = {name: median(visit["idle"][name] for visit in visits) for name in PROGRAMS}
    return {
        "configuration": configuration, "turns": len(turns), "base_us": base,
        "total_us": spread([total_us(turn) for turn in turns]),
        "growth": spread([total_us(turn) / visit["base_us"] for visit in visits for turn in visit["turns"]]),
        "cpu_us": {name: spread([us(turn, name) for turn in turns]) for name in PROGRAMS},
        "attempts_a_call": 1 / per_claim("calls"), "claims_a_transaction": 1 / per_claim("transactions"),
        "calls": per_claim("calls"), "transactions": per_claim("transactions"),
        "switches": {name: per_claim(f"switches of {name}") for name in PROGRAMS},
        "redis_bytes": [per_claim("to Redis"), per_claim("from Redis")], "mysql_bytes": per_claim("MySQL bytes"),
        "idle_cores": idle, "idle_us": {name: idle[name] * per_claim("seconds") * 1e6 for name in PROGRAMS},
        "rate": median_of(turns, lambda turn: turn["rate"]),
        "others_cores": median_of(turns, lambda turn: turn["others' CPU"] / turn["seconds"]),
        "steal_cores": median_of(turns, lambda turn: turn["steal"] / turn["seconds"])}


def fitted(rows):
    """For each program, a straight line: the cost of an attempt or row, and of a call or transaction."""
    base = next(row for row in rows if is_base(row))["total_us"]["median"]
    lines = {}
    for name, (counter, _, _) in GROWS_WITH.items():
        costs = [(row["cpu_us"][name]["median"] - row["idle_us"][name]) * base / row["base_us"] for row in rows]
        line = linear_regression([row[counter] for row in rows], costs)
        assert line.slope > 0 and line.intercept > 0, f"the costs of {name} follow no line: {line}"
        lines[name] = {"each": line.intercept, "step": line.slope}
    return lines


def result_of(facts, visits, profiles, constants, ratios):
    """Everything that `cost.json` has but the controls. `ratios` are to the cost of a claim."""
    rows = summaries(visits)
    constants = constants | scaled(ratios, rows, is_base) | from_rows(rows)
    return {"facts": facts, "constants": constants, "configurations": rows, "profiles": profiles}


def write(folder, result):
    """Writes `cost.json`, `cost.md` and `cost.svg`, and prints the page."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cost.json").write_text(json.dumps(result, indent=1) + "\n")
    result = read(folder)
    text = markdown(result)
    (folder / "cost.md").write_text(text)
    print(text)
    draw(result["configurations"], folder)


def read(folder):
    return json.loads((folder / "cost.json").read_text())


def from_rows(rows):
    """The constants of `couponrush size` that come from the configurations."""
    constants = {}
    for name, (_, each, step) in GROWS_WITH.items():
        line = fitted(rows)[name]
        constants |= {each: round(line["each"], 1), step: round(line["step"], 1)}
    few = next(row for row in rows if not is_busy(row["configuration"]))
    to_redis, from_redis = few["redis_bytes"]
    return constants | {"redis_request_bytes": round(to_redis), "redis_answer_bytes": round(from_redis),
                        "mysql_network_bytes": round(few["mysql_bytes"])}


def shown(each):
    lower, upper = each["quartiles"]
    return f"{each['median']:.1f} ({lower:.1f} to {upper:.1f})"


def shown_ratio(each):
    lower, upper = each["quartiles"]
    return f"{each['median']:.2f} ({lower:.2f} to {upper:.2f})"


def markdown(result):
    facts, rows, constants = (result[name] for name in ("facts", "configurations", "constants"))
    lines = ["# Cost of a claim with several instances, shards and Redis primaries", "",
             "Written by `scripts/cost` (`make cost`). CPU time of a claim in µs, as median and quartiles over all turns. "
             "The sum is of all instances, all Redis primaries and MariaDB, which is the MySQL here.", "",
             "![CPU time of a claim, by the number of instances](cost.svg)", "", *cost_table(rows), "", *why(rows), "",
             *cost_control.text(result["control"]), *cost_control.claims_text(result["control_of_claims"]),
             *cost_profile.text(result["profiles"]), *counts_table(rows), ""]
    lines += ["## Constants of `couponrush size`", "", "| constant | value |", "|---|---:|"]
    lines += [f"| `{name}` | {value:,} |" for name, value in constants.items()] + [""]
    return "\n".join([*lines, METHOD, *machine_text(facts, rows), ""])


def cost_table(rows):
    lines = ["| coupons | shards | primaries | instances | service | Redis | MySQL | sum | growth |",
             "|---:" * 9 + "|"]
    for row in rows:
        cells = [row["configuration"][name] for name in ("coupons", "shards", "primaries", "instances")]
        cells += [shown(row["cpu_us"][name]) for name in PROGRAMS] + [shown(row["total_us"]), shown_ratio(row["growth"])]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    few = [row for row in rows if not is_busy(row["configuration"])]
    note = "The last line has 4 connections of customers instead of 256, so that a call carries few attempts."
    return [*lines, "", *([note] if few else [])]


def counts_table(rows):
    lines = ["| coupons | shards | primaries | instances | attempts a call | claims a transaction | switches: service, "
             "Redis, MySQL | idle cores: service, Redis, MySQL | claims a second |",
             "|---:" * 9 + "|"]
    for row in rows:
        cells = [row["configuration"][name] for name in ("coupons", "shards", "primaries", "instances")]
        cells += [f"{row['attempts_a_call']:.1f}", f"{row['claims_a_transaction']:.0f}",
                  ", ".join(f"{row['switches'][name]:.2f}" for name in PROGRAMS),
                  ", ".join(f"{row['idle_cores'][name]:.3f}" for name in PROGRAMS), f"{row['rate']:,.0f}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return [*lines, "", "Switches are context switches of a program for one claim. Idle cores are used without a load."]


def why(rows):
    """Says where the cost grows, and how much of the growth the counts explain."""
    busy = [row for row in rows if is_busy(row["configuration"])]
    grown = [row for row in busy if row["growth"]["median"] > 1 + GROWTH_MAX]
    if not grown:
        return [f"In every configuration the median grows by at most {GROWTH_MAX:.0%}."]
    lines = fitted(rows)
    text = ["## Why the cost grows", "",
            f"The median grows by more than {GROWTH_MAX:.0%} in {len(grown)} of {len(busy)} configurations. More instances "
            "and shards may divide the same attempts into more calls of Redis and more transactions of MySQL, and each has a "
            "cost of its own. A straight line "
            "through all configurations gives these costs, in µs of CPU:", "",
            "| program | each claim | each call or transaction |", "|---|---:|---:|"]
    text += [f"| {name} | {line['each']:.1f} | {line['step']:.1f} for a {GROWS_WITH[name][0][:-1]} |"
             for name, line in lines.items()]
    base = next(row for row in rows if is_base(row))
    text += ["", "Growth against the base in µs. The counts explain the columns calls, transactions and idle work. The "
             "profiles below show the rest:", "",
             "| coupons | shards | primaries | instances | measured | calls | transactions | idle work | the rest |",
             "|---:" * 9 + "|"]
    for row in grown:
        text.append(explained(row, base, lines))
    return text


def explained(row, base, lines):
    calls, transactions = (row[name] - base[name] for name in ("calls", "transactions"))
    by_calls = calls * (lines["service"]["step"] + lines["Redis"]["step"])
    by_transactions = transactions * lines["MariaDB"]["step"]
    by_idle = sum(row["idle_us"].values()) - sum(base["idle_us"].values())
    measured = (row["growth"]["median"] - 1) * base["total_us"]["median"]
    figures = (measured, by_calls, by_transactions, by_idle, measured - by_calls - by_transactions - by_idle)
    cells = [row["configuration"][name] for name in ("coupons", "shards", "primaries", "instances")]
    return "| " + " | ".join([*map(str, cells), *(f"{figure:+.1f}" for figure in figures)]) + " |"


def machine_text(facts, rows):
    others, steal = (median(row[name] for row in rows) for name in ("others_cores", "steal_cores"))
    return [f"{facts['rounds']} rounds of visits with {facts['turns']} turns of {facts['turn_seconds']} s. "
            f"{facts['discarded']} visits were discarded, because over 5 % of the answers were 503. Meanwhile other programs "
            f"used {others:.2f} of {facts['cores']} cores, and the host of the machine took {steal:.2f} (medians). "
            f"{facts['processor']}, {facts['cores']} cores, {facts['memory']}; {facts['system']}; {facts['versions']}; "
            f"{facts['commit']}; measured on {facts['date']} in {facts['took']} minutes. {SERVER_SETTINGS}"]


def draw(rows, folder):
    lines = {}
    for row in rows:
        configuration = row["configuration"]
        if is_busy(configuration):
            of = "one coupon" if configuration["coupons"] == 1 else (
                f"shards {configuration['shards']}, primaries {configuration['primaries']}")
            lines.setdefault(of, []).append((configuration["instances"], row["total_us"]["median"]))
    plot(folder / "cost.svg", "CPU time of a claim: service, Redis and MySQL", "instances", "µs", list(lines.items()))
