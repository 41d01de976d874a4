"""Refusals: a bad token, sold out, already claimed."""

from ..settings import CLAIM_TURNS, attempts, responses
from ..shop import BAD_TOKEN_PATH, damaged, sold_out_coupon
from ..load import Load

# wrk with a token in each request, without the work of a claim.
ASKED_AS_CLAIMS = "control: the static answer, asked for with another token each time, as claims are"


def run(bench):
    service = bench.service
    bad_token = damaged(service.tokens[0])
    bench.compare_with_static("401 for a bad token", Load(service, responses(401), BAD_TOKEN_PATH, bad_token), 0.9)

    requests = service.requests("with-tokens", [f"GET /healthz {token}" for token in service.tokens], once=False)
    bench.compare_with_static(ASKED_AS_CLAIMS, service.request_load(responses(200), requests))

    coupon, others = sold_out_coupon(service)
    load = service.claim_load(coupon, service.requests("rest", others), attempts("sold-out"))
    bench.compare_with_static("sold out, to those who hold nothing", load, 0.85)

    if not service.claimed:
        bench.claim_by_turns(CLAIM_TURNS)
    coupon, holders = service.claimed
    load = service.claim_load(coupon, service.requests("holders", holders), attempts("already-claimed"))
    bench.compare_with_static("already claimed", load, 0.6)
