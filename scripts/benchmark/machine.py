"""The clock and messages of a run, CPU and memory of processes, and facts about this machine."""

import os
import platform
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

from .settings import CONNECTIONS, PROGRAM, ROOT

BEGAN = time.monotonic()
FILES_MAX = 65_536


def elapsed():
    minutes, seconds = divmod(int(time.monotonic() - BEGAN), 60)
    return f"{minutes}:{seconds:02}"


def say(text):
    print(f"{Path(sys.argv[0]).name}: {elapsed()} {text}", file=sys.stderr, flush=True)


def raise_file_limit():
    """Raises the limit of open files, for wrk and the service: each connection is a file."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES_MAX, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)


def resident_bytes(pid):
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", text)[1]) * 1024


def cpu_seconds(pid):
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def thread_count(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


def write_calls(pid):
    """System calls by which a process has written."""
    return int(re.search(r"syscw: (\d+)", Path(f"/proc/{pid}/io").read_text())[1])


def first_line(*command):
    return subprocess.run(command, capture_output=True, text=True).stdout.split("\n")[0]


def facts(program=PROGRAM):
    """Processor, memory, versions and commit, for the results."""
    processor = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) / 1e6
    versions = [first_line(program, "--version"), first_line("redis-server", "--version").split(" sha")[0],
                re.sub(r".*Ver ([^ ]*).*", r"MariaDB \1", first_line("mariadbd", "--version")),
                first_line("rustc", "--version")]
    commit = "commit " + first_line("git", "-C", ROOT, "rev-parse", "--short", "HEAD")
    return {"processor": processor[1] if processor else platform.machine(), "cores": os.cpu_count(),
            "memory": f"{memory:.0f} GB", "system": f"{platform.system()} {platform.release()}",
            "versions": "; ".join(versions), "date": time.strftime("%Y-%m-%d"), "commit": commit,
            "connections": CONNECTIONS}


def cpu_of_all():
    """Seconds of CPU that all programs of the machine have used, and seconds that its host has taken away."""
    fields = [int(field) / os.sysconf("SC_CLK_TCK") for field in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
    user, nice, system, _, _, irq, softirq, steal = fields[:8]
    return user + nice + system + irq + softirq, steal
