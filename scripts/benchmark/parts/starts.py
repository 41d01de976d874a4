"""Seconds until the service sells after its start, with 100,000 coupons and a million claims."""

import os
import re
import subprocess

from ..launcher import NO_BUILD
from ..settings import ROOT


def run(bench):
    """Runs `scripts/load --starts`, which has servers and data of its own."""
    bench.service.stop()
    variables = {key: value for key, value in os.environ.items() if not key.startswith("COUPONRUSH_")}
    text = subprocess.run([ROOT / "scripts/load", "--starts"], check=True, stdout=subprocess.PIPE, text=True,
                          env=variables | {NO_BUILD: "1"}).stdout
    found = re.findall(r"start with a Redis that (.*): ([\d.]+) s", text)
    for (how, seconds), aim in zip(found, (2, 15), strict=True):
        bench.report.add(f"start with a Redis that {how}: 100,000 coupons, 1,000,000 claims", float(seconds), aim, "s",
                         at_most=True)
