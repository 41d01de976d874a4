"""Profiles of a few configurations of `scripts/cost`, by perf: which part of a claim's cost grows."""

import re
import signal
import subprocess
from collections import Counter

# Samples for a second of CPU. Not a multiple of the clock's ticks, so that periodic work is not always hit.
FREQUENCY = 1999
THREADS = {"actix": "service, threads of HTTP", "redis": "Redis", "mariadbd": "MariaDB"}
OTHER_THREADS = "service, other threads"
# The part of a sample inside the kernel: the first one with a matching function anywhere on the stack.
KERNEL_PARTS = (("waiting and waking", r"futex|epoll|poll\b|schedule|nanosleep|eventfd"),
                ("sockets", r"sendto|recvfrom|sendmsg|recvmsg|sock_|tcp_|inet_|writev|net_rx"))
OWN, REST = "own code", "rest of the kernel"
# Libraries by the start of a function's name. The first line that matches decides.
LIBRARIES = (("memory allocator", r"_?mi_"), ("copying memory", r"__mem(move|set|cmp|cpy)"),
             ("actix-web", r"actix_|httparse|<.* as actix_"), ("tokio", r"tokio"), ("couponrush", r"couponrush"),
             ("the standard library", r"core|alloc|std|hashbrown"))
LIBRARIES_REST = "others"


class Profile:
    """Samples of all programs of a fleet while a load has its turns; a context manager."""

    def __init__(self, fleet):
        self.fleet, self.path = fleet, fleet.folder / "perf.data"

    def __enter__(self):
        fleet = self.fleet
        pids = [process.pid for process in fleet.processes] + fleet.nodes.pids() + [fleet.pid("mariadb")]
        self.process = subprocess.Popen(
            ["perf", "record", "--quiet", "--event", "cpu-clock", "--freq", str(FREQUENCY), "-g", "--pid",
             ",".join(map(str, pids)), "--output", self.path], stdin=subprocess.DEVNULL)
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self.process.wait()

    def seconds(self):
        """Seconds of CPU: by kind of thread and part, and of the service's own code in threads of HTTP by library."""
        script = subprocess.run(["perf", "script", "--input", self.path, "--fields", "comm,ip,sym,dso"], check=True,
                                capture_output=True, text=True).stdout
        self.path.unlink()
        parts, libraries = Counter(), Counter()
        for sample in script.split("\n\n"):
            thread, *frames = sample.strip().split("\n")
            if not frames:
                continue
            kind = next((kind for start, kind in THREADS.items() if thread.startswith(start)), OTHER_THREADS)
            # A frame is an address, a function and, in brackets, a file.
            functions = [" ".join(frame.split()[1:-1]) for frame in frames]
            part = kernel_part(functions) if "[kernel" in frames[0] else OWN
            parts[f"{kind}: {part}"] += 1 / FREQUENCY
            if part == OWN and kind == THREADS["actix"]:
                libraries[library(functions[0])] += 1 / FREQUENCY
        return parts, libraries


def kernel_part(functions):
    return next((part for part, pattern in KERNEL_PARTS if any(re.search(pattern, each) for each in functions)), REST)


def library(function):
    return next((name for name, start in LIBRARIES if re.match(start, function)), LIBRARIES_REST)


def per_claim(seconds, claims):
    return {name: each / claims * 1e6 for name, each in seconds.items()}


def text(profiles):
    """Tables of all profiles, one column each."""
    names = ("instances", "shards", "primaries")
    heads = [", ".join(str(profile["configuration"][name]) for name in names) for profile in profiles]
    return ["## Profiles", "",
            "Samples of all threads by `perf record --event cpu-clock`, in one more visit of some configurations with 16 "
            "coupons, in µs of CPU a claim. Own code is everything outside the kernel.", "",
            *table("thread and part by " + ", ".join(names), heads, [profile["parts"] for profile in profiles]), "",
            "The own code of the service's threads of HTTP, by the library of the running function:", "",
            *table("library", heads, [profile["libraries"] for profile in profiles]), "",
            "Every instance has a batcher, a ledger and background tasks of its own for each shard. So the service's other "
            "threads, and the waiting and waking of all programs, grow with instances times shards: batches are smaller, and "
            "beats and sweeps more frequent. The code of the threads of HTTP does the same for a claim in every column. Where "
            "it takes longer, the processor waits for memory, because it switches between more processes: at one of several "
            "running instances the same code takes as long as alone, as the control above shows.", ""]


def table(first, heads, columns):
    """The rows with the largest figures first; rows below 0.05 µs everywhere are left out."""
    names = sorted(set().union(*columns), key=lambda name: -columns[0].get(name, 0))
    shown = [name for name in names if any(column.get(name, 0) >= 0.05 for column in columns)]
    rows = [[name, *(f"{column.get(name, 0):.2f}" for column in columns)] for name in shown]
    rows.append(["**sum**", *(f"{sum(column.values()):.2f}" for column in columns)])
    return ["| " + " | ".join(cells) + " |" for cells in ([first, *heads], ["---", *["---:"] * len(heads)], *rows)]
