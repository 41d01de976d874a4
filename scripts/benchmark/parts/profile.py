"""Where the CPU of a claim goes inside the service, by perf."""

import re
import subprocess

from ..machine import say

SECONDS = 6
# Names of functions by part of the service. A sample belongs to the part of its innermost frame that has one.
PARTS = {
    "token: check, and sign the claim's":
        r"couponrush::auth::|\b(hmac|sha2|digest|base64|jsonwebtoken)::|couponrush::api::session|api::claims::prove",
    "admission, gate, activities, names":
        r"couponrush::(admission|memory|gate|refusals|activities|directory|claim::(gate|refusals))|moka::",
    "ledger": r"couponrush::(ledger|db|mysql|claim::(ledger|persister))::|mysql_async|diesel",
    "Redis client": r"couponrush::(kv|redis|stock|claiming|claim)::|\bredis::|deadpool",
    "HTTP": r"actix_|\bhttp::|httparse|couponrush::api::|tokio::net::tcp|regex",
}
SOCKETS, REST = "HTTP: the kernel, for its sockets", "everything else"


def run(bench):
    service = bench.service
    data = service.folder / "perf.data"
    record = ["perf", "record", "-q", "-e", "cpu-clock", "-F", "499", "--call-graph", "dwarf,16384", "-o", data,
              "-p", str(service.process.pid), "--", "sleep", str(SECONDS)]
    with service.claim_load(service.fresh_coupon(), service.everybody) as load:
        load.resume()
        recorded = subprocess.run(record, capture_output=True, text=True)
    if recorded.returncode != 0:
        say(f"no profile: {recorded.stderr.strip()}")
        return
    script = ["perf", "script", "-i", data, "-F", "ip,sym", "--no-inline"]
    text = subprocess.run(script, capture_output=True, text=True).stdout
    stacks = [stack for stack in text.split("\n\n") if stack.strip()]
    counts = {part: 0 for part in [*PARTS, SOCKETS, REST]}
    for stack in stacks:
        counts[part_of(stack)] += 1
    bench.report.facts["profile"] = {part: count / len(stacks) for part, count in counts.items()}


def part_of(stack):
    """The part of the service that a stack of perf belongs to, including the kernel's work for it."""
    for frame in stack.splitlines():
        for part, pattern in PARTS.items():
            if re.search(pattern, frame):
                return SOCKETS if part == "HTTP" and "do_syscall" in stack else part
    return REST
