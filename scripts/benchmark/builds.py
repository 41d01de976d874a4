"""The command `scripts/compare-builds`: an older build and this one by turns, each on servers of its own."""

import argparse
import hashlib
import json
import random
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median, quantiles

from . import launcher, machine
from .load import Load
from .machine import elapsed, first_line, say
from .report import PROGRAMS, machine_line, shown
from .service import Service
from .settings import CONNECTIONS, PROGRAM, ROOT, attempts, responses
from .shop import BAD_TOKEN_PATH, claimed_lists, customers_list_load, damaged, salers_list_load, sold_out_coupon
from .turns import ratios_by_pairs

OLD_STACK, NEW_STACK, PORTS = "compare-old", "compare-new", (20400, 20410)
CUSTOMERS, COUPONS = 600_000, 10
# Customers with a claim, who ask for the claim again. wrk repeats the last token of a file and admission blocks that
# customer, so the last token of both files is left out.
HOLDERS, HOLDERS_LEFT_OUT = 150_000, 2
TURNS, TURNS_MIN, TURN_SECONDS = 24, 12, 0.35
# Seed of the order of customers: the same for both services.
ORDER_SEED = 17


def prepare_claims(service):
    service.rewrite_redis_file()
    return service.claim_load(service.fresh_coupon(), service.everybody)


def prepare_already_claimed(service):
    coupon = service.fresh_coupon()
    holders = service.tokens[:HOLDERS]
    service.claim_all(service.claim_load(coupon, service.requests("first-claims", holders)), HOLDERS)
    return patch_load(service, "holders", coupon, holders[:-HOLDERS_LEFT_OUT], "already-claimed")


def prepare_sold_out(service):
    coupon, others = sold_out_coupon(service)
    return patch_load(service, "sold-out", coupon, others, "sold-out")


def patch_load(service, name, coupon, tokens, result):
    saler, coupon_name = coupon.read_text().strip().split("/", 1)
    lines = [f"PATCH /api/users/{saler}/coupons/{coupon_name} {token}" for token in tokens]
    return service.request_load(attempts(result), service.requests(name, lines, once=False))


def prepare_bad_token(service):
    return Load(service, responses(401), BAD_TOKEN_PATH, damaged(service.tokens[0]))


def prepare_salers_list(service):
    return salers_list_load(service, listers_of(service))


def prepare_customers_list(service):
    return customers_list_load(service, listers_of(service))


def listers_of(service):
    if service.listers is None:
        service.listers = claimed_lists(service)
    return service.listers


# By name of a part: the label, the least wanted ratio, and the function that prepares the load.
PARTS = {
    "claims": ("claims that succeed", 0.95, prepare_claims),
    "already-claimed": ("already claimed", 0.93, prepare_already_claimed),
    "refusals": ("sold out, refused from memory", 0.93, prepare_sold_out),
    "bad-token": ("401 for a bad token", 0.9, prepare_bad_token),
    "salers-list": ("a saler's list of 20 coupons", None, prepare_salers_list),
    "customers-list": ("a customer's list of 20 coupons", None, prepare_customers_list),
}


class Comparison:
    """Two services with the same data, and the results of the parts so far."""

    def __init__(self, old, new, turns, settings):
        self.old, self.new = Service(OLD_STACK, PORTS[0], old), Service(NEW_STACK, PORTS[1], new, settings)
        self.turns, self.results = turns, []

    def both(self, step):
        """Runs a step for both services at the same time."""
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(step, (self.old, self.new)))

    def run(self, parts):
        try:
            self.both(lambda service: service.start_seeded(CUSTOMERS, COUPONS, random.Random(ORDER_SEED)))
            for part in parts:
                self.compare(part)
            self.both(Service.audit)
        finally:
            self.old.stop()
            self.new.stop()

    def compare(self, part):
        what, aim, prepare = PARTS[part]
        say(f"{part} ...")
        old, new = prepare(self.old), prepare(self.new)
        with old, new:
            ratios = ratios_by_pairs(old, new, TURN_SECONDS, self.turns)
        lower, middle, upper = quantiles(ratios, n=4, method="inclusive")
        met = None if aim is None else middle >= aim
        old_cpu, new_cpu = old.cpu_per_answer(), new.cpu_per_answer()
        self.results.append({
            "part": part, "what": what, "aim": aim, "met": met, "median": middle, "quartiles": [lower, upper],
            "ratios": ratios, "cpu_ratio": sum(old_cpu.values()) / sum(new_cpu.values()),
            "old_rates": old.rates, "new_rates": new.rates, "old_cpu_us": old_cpu, "new_cpu_us": new_cpu})
        verdict = "" if met is None else f" (aim {aim}: {'met' if met else 'missed'})"
        say(f"{what}: {middle:.3f}, quartiles {lower:.3f} and {upper:.3f}{verdict}")


def build_facts(program):
    """The version of a build, and the beginning of its hash, because versions are equal between releases."""
    digest = hashlib.sha256(program.read_bytes()).hexdigest()[:12]
    return f"{first_line(program, '--version')}, sha256 {digest}"


def markdown(results, facts):
    lines = ["| new build / old build, by turns | median | quartiles | aim | verdict | by CPU | a second: old, new |",
             "|---|---:|---:|---:|---|---:|---:|"]
    cpu_lines = ["| CPU per answer, µs: old, new | " + " | ".join(PROGRAMS) + " |",
                 "|---" + "|---:" * len(PROGRAMS) + "|"]
    for each in results:
        aim = "" if each["aim"] is None else f"at least {each['aim']}"
        verdict = {None: "", True: "met", False: "**missed**"}[each["met"]]
        lower, upper = each["quartiles"]
        rates = f"{shown(median(each['old_rates']))}, {shown(median(each['new_rates']))}"
        row = (each["what"], f"{each['median']:.3f}", f"{lower:.3f} to {upper:.3f}", aim, verdict,
               f"{each['cpu_ratio']:.3f}", rates)
        lines.append("| " + " | ".join(row) + " |")
        cpu = (f"{each['old_cpu_us'][name]:.1f}, {each['new_cpu_us'][name]:.1f}" for name in PROGRAMS)
        cpu_lines.append(f"| {each['what']} | " + " | ".join(cpu) + " |")
    method = (f"{facts['turns']} turns of {TURN_SECONDS} s per build, in the order AB, BA; a ratio compares two "
              f"neighbouring turns. {facts['connections']} connections ask. The builds have separate servers, data and "
              "loads, and the load of one is paused during the turn of the other. By CPU: CPU per answer of all programs, old divided by new; other work on "
              f"the machine disturbs this ratio less. Old: {facts['old']}. New: {facts['new']}.")
    return "\n".join([*lines, "", *cpu_lines, "", method, "", machine_line(facts), ""])


def setting(text):
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError("a setting is NAME=VALUE")
    return name, value


def arguments_of(description):
    parser = argparse.ArgumentParser(usage=argparse.SUPPRESS, add_help=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("old", nargs="?", type=Path)
    parser.add_argument("--new", type=Path, default=PROGRAM)
    parser.add_argument("--with", dest="settings", nargs="+", metavar="NAME=VALUE", type=setting, default=[])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--out", type=Path, default=ROOT / "docs/benchmarks")
    arguments = parser.parse_args()
    if arguments.help:
        print(description.strip())
        raise SystemExit(0)
    if arguments.old is None:
        parser.error("the path of the older binary is missing; see --help")
    if arguments.turns < TURNS_MIN:
        parser.error(f"--turns must be at least {TURNS_MIN}")
    subprocess.run([arguments.old, "--version"], check=True, stdout=subprocess.DEVNULL)
    return arguments


def main(description):
    arguments = arguments_of(description)
    launcher.ensure_inside_stacks([OLD_STACK, NEW_STACK], [], ["--bins"] if arguments.new == PROGRAM else [])
    machine.raise_file_limit()
    facts = machine.facts(arguments.new)
    comparison = Comparison(arguments.old.resolve(), arguments.new.resolve(), arguments.turns, arguments.settings)
    comparison.run(arguments.only)
    new = ", ".join([build_facts(arguments.new), *(f"{name}={value}" for name, value in arguments.settings)])
    facts |= {"old": build_facts(arguments.old), "new": new, "turns": arguments.turns, "connections": CONNECTIONS,
              "turn_seconds": TURN_SECONDS, "took": elapsed()}
    arguments.out.mkdir(parents=True, exist_ok=True)
    result = {"facts": facts, "results": comparison.results}
    (arguments.out / "builds.json").write_text(json.dumps(result, indent=1) + "\n")
    text = markdown(comparison.results, facts)
    (arguments.out / "builds.md").write_text(text)
    print(text)
