"""Installs packages, builds, starts the private servers, and runs the script again with them."""

import os
import signal
import subprocess
import sys

from .settings import BUFFER_POOL, ROOT

# Holds the folder that the script was called in, while the servers run.
INSIDE = "COUPONRUSH_BENCH_INSIDE"
NO_BUILD = "COUPONRUSH_LOAD_NO_BUILD"


def ensure_inside_stacks(stacks, packages, targets, buffer_pool=BUFFER_POOL):
    """Returns if the servers of the stacks run. Otherwise starts them with fresh data, and this script within.

    `targets` are arguments of `cargo build`, and `buffer_pool` is the memory of MariaDB. The servers stop when the script ends, for whatever reason.
    """
    if folder := os.environ.get(INSIDE):
        os.chdir(folder)
        # An exception of its own, so that `finally` and context managers stop the started processes.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(f"{name()}: ended by SIGTERM"))
        return
    script, folder = os.path.abspath(sys.argv[0]), os.getcwd()
    os.chdir(ROOT)
    subprocess.run(["scripts/stack", "install", "--load", *packages], check=True)
    if targets and not os.environ.get(NO_BUILD):
        subprocess.run(["cargo", "build", "--release", "--locked", *targets], check=True)
    command = []
    for stack in stacks:
        subprocess.run(["scripts/stack", "wipe", stack], check=True)
        command += ["scripts/stack", "with", stack, "--"]
    os.environ |= {INSIDE: folder, "STACK_BUFFER_POOL": buffer_pool}
    os.execv(command[0], [*command, sys.executable, script, *sys.argv[1:]])


def name():
    return os.path.basename(sys.argv[0])


def run_script(main):
    """Runs `main`, and ends the script with one line where a measurement failed."""
    try:
        main()
    except (AssertionError, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"{name()}: {error}")
    except KeyboardInterrupt:
        sys.exit(f"{name()}: interrupted")
