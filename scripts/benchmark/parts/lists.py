"""Lists: a saler's coupons and a customer's coupons."""

from ..shop import LISTED, LISTERS, claimed_lists, customers_list_load, salers_list_load


def run(bench):
    service = bench.service
    listers = claimed_lists(service)
    for who, load in (("saler", salers_list_load), ("customer", customers_list_load)):
        what = f"a {who}'s list of {LISTED} coupons, to {LISTERS:,} customers"
        bench.compare_with_static(what, load(service, listers), 0.4)
