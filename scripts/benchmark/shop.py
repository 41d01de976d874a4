"""Salers, coupons and claims that the loads of refusals and lists need."""

import base64
import json
import random
from statistics import median

from .settings import WRK_PROCESSES, responses

BAD_TOKEN_PATH = "/api/users/x/coupons"
SOLD_OUT_AMOUNT = 1_000
# Coupons in a list, and customers who ask for lists.
LISTED, LISTERS = 20, 10_000
LISTED_AMOUNT = 10_000_000
LISTS_CHECKED = 9
LISTED_SALER, SOLD_OUT_SALER = "bench-lister", "bench-sold-out"


def damaged(token):
    """A token whose signature is wrong."""
    return token[:-2] + ("AA" if token[-2:] != "AA" else "BB")


def name_in(token):
    """The user name in a token."""
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["sub"]


def sold_out_coupon(service):
    """The file of a sold-out coupon, and the tokens of customers who hold none of it. Makes the coupon in the first call."""
    if service.sold_out is None:
        saler = service.add_user(SOLD_OUT_SALER, "saler")
        service.add_coupon(SOLD_OUT_SALER, saler, "few", SOLD_OUT_AMOUNT)
        coupon = service.folder / "few.txt"
        coupon.write_text(f"{SOLD_OUT_SALER}/few\n")
        first = service.requests("first", service.tokens[:2 * SOLD_OUT_AMOUNT])
        service.claim_all(service.claim_load(coupon, first), SOLD_OUT_AMOUNT)
        service.sold_out = coupon, service.tokens[2 * SOLD_OUT_AMOUNT:]
    return service.sold_out


def claimed_lists(service):
    """Lets LISTERS customers claim LISTED coupons of one saler each, and returns the customers' tokens.

    The customers are from the middle of the seeded ones. A process of wrk repeats the token at either end of its file,
    and the limits of admission then refuse that customer.
    """
    saler = service.add_user(LISTED_SALER, "saler")
    for number in range(LISTED):
        service.add_coupon(LISTED_SALER, saler, f"listed-{number}", LISTED_AMOUNT)
    coupons = service.folder / "listed.txt"
    coupons.write_text("".join(f"{LISTED_SALER}/listed-{number}\n" for number in range(LISTED)))
    listers = service.tokens[len(service.tokens) // 2:][:LISTERS]
    # wrk goes round over the coupons, line by line. Every round over the customers starts one customer further, so
    # every customer gets every coupon.
    share, rounds = LISTERS // WRK_PROCESSES, []
    for turn in range(LISTED):
        for place in range(share):
            first = WRK_PROCESSES * ((place + turn) % share)
            rounds += listers[first:first + WRK_PROCESSES]
    # A few claims less: the last token of a process is refused when repeated, and wrk may leave a request unsent.
    load = service.claim_load(coupons, service.requests("rounds", rounds))
    service.claim_all(load, LISTED * (LISTERS - WRK_PROCESSES))
    return listers


def salers_list_load(service, listers):
    return list_load(service, "salers-list", [f"GET /api/users/{LISTED_SALER}/coupons {token}" for token in listers])


def customers_list_load(service, listers):
    lines = [f"GET /api/users/{name_in(token)}/coupons {token}" for token in listers]
    return list_load(service, "customers-list", lines)


def list_load(service, name, lines):
    """Requests for lists, after a check that the lists are complete."""
    answers = [service.ask("GET", *line.split()[1:])[2] for line in random.sample(lines, LISTS_CHECKED)]
    lengths = [len(json.loads(answer)["data"]) for answer in answers]
    assert median(lengths) == LISTED, lengths
    return service.request_load(responses(200), service.requests(name, lines, once=False))
