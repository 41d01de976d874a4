"""The results of a run: a table of figures with their aims, as Markdown and JSON."""

import json
from statistics import median

from .machine import elapsed, say
from .settings import CLAIMS

PROGRAMS = ("service", "Redis", "MariaDB", "wrk")
NOTES = ("In brackets: the least and the greatest of single turns, no margin of error. \"alone\": the basis of the "
         "estimated limits, measured without the service, which sends Redis many attempts a call. MySQL is MariaDB "
         "here; `wrk` runs on the same cores.")
SERVER_SETTINGS = "Redis `appendonly yes, appendfsync everysec`, MariaDB `innodb_flush_log_at_trx_commit=1`."


def shown(value):
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.3g}"


def span(ratios):
    return f"({min(ratios):.3g} to {max(ratios):.3g})"


class Report:
    """Rows of the table, facts beside it, time series for the plots, and CPU per answer."""

    def __init__(self):
        self.rows, self.facts, self.series = [], {}, {}
        # Microseconds of CPU for one answer, by what was asked and by program.
        self.cpu = {}

    def add(self, what, value, aim=None, unit="", at_most=False):
        """Adds a row. `aim` is the least wanted value, or the greatest if `at_most`."""
        met = None if aim is None else (value <= aim if at_most else value >= aim)
        self.rows.append({"what": what, "value": value, "unit": unit, "aim": aim, "at_most": at_most, "met": met,
                          "limit": None})
        verdict = "" if met is None else f" (aim {shown(aim)}: {'met' if met else 'missed'})"
        say(f"{what}: {shown(value)} {unit}{verdict}")

    def add_ratios(self, what, ratios, aim=None):
        self.add(what, median(ratios), aim, span(ratios))

    def add_limit(self, what, limit):
        """Adds this machine's estimated limit to a row whose aim is missed and lies beyond the limit."""
        row = next(row for row in self.rows if row["what"] == what)
        if row["met"] is False and (limit > row["aim"] if row["at_most"] else limit < row["aim"]):
            row["limit"] = limit

    def write(self, folder):
        """Writes `results.json` and `results.md`, and prints the table."""
        folder.mkdir(parents=True, exist_ok=True)
        self.facts |= {"cpu_us": self.cpu, "took": elapsed()}
        result = {"facts": self.facts, "results": self.rows, "series": self.series}
        (folder / "results.json").write_text(json.dumps(result, indent=1) + "\n")
        text = self.markdown()
        (folder / "results.md").write_text(text)
        print(text)

    def markdown(self):
        lines = ["| what | measured | aim | verdict |", "|---|---:|---:|---|", *map(row_line, self.rows)]
        lines += ["", NOTES, "", *cpu_table(self.cpu)]
        if "profile" in self.facts:
            service = self.cpu.get(CLAIMS, {}).get("service", 0)
            lines += ["", "| CPU of a claim inside the service | share | µs |", "|---|---:|---:|"]
            lines += [f"| {part} | {share:.0%} | {share * service:.1f} |"
                      for part, share in self.facts["profile"].items()]
        if "alone_us" in self.facts:
            alone = self.facts["alone_us"]
            lines += ["", "| CPU of the parts alone, µs | " + " | ".join(alone) + " |",
                      "|---" + "|---:" * len(alone) + "|"]
            lines += [f"| {name} | " + " | ".join(f"{us[name]:.1f}" for us in alone.values()) + " |"
                      for name in next(iter(alone.values()))]
        return "\n".join([*lines, "", machine_line(self.facts), ""])


def row_line(row):
    aim = "" if row["aim"] is None else ("at most " if row["at_most"] else "at least ") + shown(row["aim"])
    verdict = {None: "", True: "met", False: "**missed**"}[row["met"]]
    if row["limit"] is not None:
        verdict = f"missed; beyond this machine's estimated limit of {shown(row['limit'])}"
    return f"| {row['what']} | {shown(row['value'])} {row['unit']} | {aim} | {verdict} |"


def cpu_table(cpu):
    lines = ["| CPU per answer, µs | " + " | ".join(PROGRAMS) + " |", "|---" + "|---:" * len(PROGRAMS) + "|"]
    return lines + [f"| {what} | " + " | ".join(f"{used[name]:.1f}" for name in PROGRAMS) + " |"
                    for what, used in cpu.items()]


def machine_line(facts):
    return (f"{facts['processor']}, {facts['cores']} cores, {facts['memory']}; {facts['system']}; {facts['versions']}; "
            f"{facts['commit']}; measured on {facts['date']} in {facts['took']} minutes. {SERVER_SETTINGS}")
