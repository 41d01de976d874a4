"""Claims of one coupon against claims of a thousand, by two halves of the customers."""

from ..settings import CLAIM_TURN_SECONDS, CLAIM_TURNS, CUSTOMERS, MANY_OVER_ONE, OF_MANY, OF_ONE, SPREAD
from ..turns import compare


def run(bench):
    service, cpu = bench.service, bench.report.cpu
    service.rewrite_redis_file()
    half = CUSTOMERS // 2
    seeded = (service.folder / "coupons.txt").read_text().splitlines()
    coupons = service.folder / "many.txt"
    coupons.write_text("".join(line + "\n" for line in seeded[-SPREAD:]))
    ratios, cpu[OF_ONE], cpu[OF_MANY] = compare(
        service.claim_load(service.fresh_coupon(), service.requests("half", service.tokens[:half])),
        service.claim_load(coupons, service.requests("other-half", service.tokens[half:])),
        CLAIM_TURN_SECONDS, CLAIM_TURNS)
    bench.report.add_ratios(MANY_OVER_ONE, ratios, 0.9)
