"""The claim script alone, by redis-benchmark."""

import re
import subprocess

from ..machine import cpu_seconds
from ..settings import ROOT, SPREAD

# Attempts that are made, by the number of attempts in a call.
ATTEMPTS = {1: 20_000, 32: 80_000}
# Makes ARGV[1] coupons that nobody has claimed, with a random number of redis-benchmark as their id.
MAKE_COUPONS = """
for n = 0, ARGV[1] - 1 do
  redis.call('HSET', string.format('alone:coupon:%012d', n),
    'amount', '100000000', 'claimed', '0', 'scheduled', '0', 'activity_revision', '0')
end"""
DELETE_ALL = "for _, key in ipairs(redis.call('KEYS', 'alone:*')) do redis.call('UNLINK', key) end"


def measure_script(service, coupons, together):
    """Attempts a second, each by another customer, and Redis' CPU of one in microseconds."""
    port = re.search(r":(\d+)", service.variables["COUPONRUSH_REDIS_URL"].split("@")[-1])[1]
    sha = service.redis("SCRIPT", "LOAD", ROOT.joinpath("lua/claim.lua").read_text()).strip()
    service.redis("SET", "alone:live", "bench:1")
    service.redis("EVAL", MAKE_COUPONS, "0", str(coupons))
    keys, arguments = call_of_script(coupons, together)
    calls = ATTEMPTS[together] // together
    command = ["redis-benchmark", "-p", port, "-c", "50", "-n", str(calls), "-r", str(SPREAD), "--csv",
               "EVALSHA", sha, str(len(keys)), *keys, *arguments]
    used = cpu_seconds(service.pid("redis"))
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    used = cpu_seconds(service.pid("redis")) - used
    granted = int(service.redis("GET", "alone:waiting"))
    assert granted > 0.99 * calls * together, f"{granted} of {calls * together} attempts were granted"
    service.redis("EVAL", DELETE_ALL, "0")
    per_second = float(text.strip().splitlines()[-1].split(",")[1].strip('"'))
    return per_second * together, {"Redis": used / (calls * together) * 1e6}


def call_of_script(coupons, together):
    """KEYS and ARGV of lua/claim.lua: the questions, then the attempts.

    redis-benchmark replaces `__rand_int__` by twelve random digits. All attempts ask one question where there is one
    coupon.
    """
    coupon = "alone:coupon:" + ("__rand_int__" if coupons > 1 else f"{0:012}")
    questions = together if coupons > 1 else 1
    letters = "".join(chr(ord("A") + min(attempt, questions - 1)) for attempt in range(together))
    keys = ["alone:live", "alone:outbox", "alone:waiting"] + [coupon, "alone:holes"] * questions
    keys += ["alone:holder:" + "__rand_int__" * 3] * together
    arguments = ["bench:1", "1", "100000000", "99999999999999", str(questions), letters]
    arguments += ["1", "0", "0", "0"] * questions + ["7"] * together
    return keys, arguments
