"""Load by wrk, which sends requests only during its turns."""

import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from .machine import cpu_seconds, say, thread_count, write_calls
from .settings import CONNECTIONS, UNWANTED_MAX, RESPONSES, ROOT


@dataclass
class Requests:
    """The requests of a load: a file for each process of wrk, and all lines. `once`: no line is sent twice."""

    files: list[Path]
    lines: list[str]
    once: bool


class Load:
    """Processes of wrk against a service, used as a context manager; paused except during a turn.

    Each thread of wrk is a process of its own. Of two threads in one process, the first would start while the second
    still reads its tokens.
    """

    def __init__(self, service, counter, path="/", token=None, script=(), requests=None, connections=CONNECTIONS):
        """`counter` is the metric of the service that counts the wanted answers. Each process of wrk asks one address."""
        self.service, self.counter, self.requests = service, counter, requests
        # Wanted answers a second, by turn. Wanted answers of all turns and of the last turn. CPU seconds by program.
        self.rates, self.answered, self.latest, self.used = [], 0.0, 0.0, {}
        # Unwanted answers of all turns.
        self.unwanted = 0.0
        urls = service.urls
        command = ["wrk", "-t1", f"-c{connections // len(urls)}", "-d1h",
                   *(["-H", f"Authorization: {token}"] if token else []),
                   *(["-s", ROOT / script[0]] if script else [])]
        arguments = [["--", file, *script[1:], "1"] for file in requests.files] if script else [[]] * len(urls)
        self.commands = [[*command, url + path, *each] for url, each in zip(urls, arguments)]
        self.processes = []

    def __enter__(self):
        """Starts wrk. Each process is paused when its thread appears, which is after it has read its requests."""
        self.processes = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for command in self.commands]
        try:
            waiting = self.processes
            while waiting:
                ready = [process for process in waiting if thread_count(process.pid) > 1]
                for process in ready:
                    process.send_signal(signal.SIGSTOP)
                waiting = [process for process in waiting if process not in ready]
                time.sleep(0.002)
            self.service.wait_until_stored()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, failed=None, *_):
        for process in self.processes:
            process.kill()
            process.wait()
        self.service.wait_until_stored()
        assert failed or self.unwanted <= UNWANTED_MAX * (self.answered + self.unwanted), (
            f"{self.unwanted:.0f} answers were not {self.counter}, and {self.answered:.0f} were")

    def resume(self):
        for process in self.processes:
            process.send_signal(signal.SIGCONT)

    def halt(self):
        for process in self.processes:
            process.send_signal(signal.SIGSTOP)

    def pause(self):
        self.halt()
        self.service.wait_until_stored()

    def count(self):
        """The time, and the number of answers of each kind so far."""
        now = self.service.metrics()
        names = [name for name in now if name == self.counter or name.startswith(RESPONSES)]
        return time.monotonic(), Counter({name: now[name] for name in names})

    def cpu(self):
        """Seconds of CPU that each program has used so far."""
        return self.service.cpu() | {"wrk": sum(cpu_seconds(process.pid) for process in self.processes)}

    def turn(self, seconds):
        """Sends requests for this time and returns the wanted answers a second."""
        used, (_, first) = self.cpu(), self.count()
        self.resume()
        time.sleep(seconds / 5)
        began, before = self.count()
        time.sleep(seconds)
        ended, after = self.count()
        self.pause()
        self.add(self.count()[1] - first)
        for name, each in self.cpu().items():
            self.used[name] = self.used.get(name, 0) + each - used[name]
        self.rates.append((after - before)[self.counter] / (ended - began))
        return self.rates[-1]

    def add(self, answers):
        """Adds the answers of a turn.

        When the machine stands still for a moment, the service answers attempts with 503, and the turn has fewer
        wanted answers.
        """
        self.latest = answers[self.counter]
        unwanted = max(0, sum(count for name, count in answers.items() if name.startswith(RESPONSES)) - self.latest)
        if unwanted > 0.01 * self.latest:
            say(f"a turn with {unwanted:.0f} unwanted answers: {dict(answers)}")
        self.unwanted += unwanted
        self.answered += self.latest

    def sent(self):
        """Requests that each process has sent. A request is one write call, and wrk makes few other write calls."""
        return [write_calls(process.pid) for process in self.processes]

    def remaining(self):
        """Requests that can still be sent. At its end a process repeats its last line, so the fastest one decides."""
        if not (self.requests and self.requests.once):
            return float("inf")
        processes = len(self.commands)
        return processes * (len(self.requests.lines) // processes - max(self.sent()))

    def has_another_turn(self):
        return self.remaining() >= 2 * self.latest

    def sent_lines(self):
        """The lines that have been sent; only while the load is paused."""
        return [line for number, sent in enumerate(self.sent())
                for line in self.requests.lines[number::len(self.commands)][:sent]]

    def cpu_per_answer(self):
        """Microseconds of CPU for one answer, by program."""
        return {name: seconds / self.answered * 1e6 for name, seconds in self.used.items()}
