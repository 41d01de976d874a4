"""The inserts of the ledger alone."""

import random
import time
from collections import Counter

from ..machine import cpu_seconds

# Rows in all, and rows of a transaction: a batch of the ledger at most.
ROWS, BATCH = 200_000, 4_000
CLAIMED_AT = 1767265200000
MAKE_TABLES = """
CREATE TABLE alone_claims LIKE claims; CREATE TABLE alone_coupons LIKE coupons;
INSERT INTO alone_coupons (id, saler_id, name, amount, left_count, face_value, description)
SELECT id, saler_id, name, amount, left_count, face_value, description FROM coupons ORDER BY id LIMIT {};"""


def insert_statements(service, coupons):
    """Makes tables for this many coupons; returns the transactions that store claims of random customers in them."""
    service.mysql(MAKE_TABLES.format(coupons))
    ids = [int(line) for line in service.mysql("SELECT id FROM alone_coupons ORDER BY id").split()[1:]]
    users = list(range(ROWS))
    random.shuffle(users)
    seqs, statements = dict.fromkeys(ids, 0), []
    for first in range(0, ROWS, BATCH):
        claims, counts = [], Counter()
        for user in users[first:first + BATCH]:
            coupon = random.choice(ids)
            seqs[coupon] += 1
            counts[coupon] += 1
            claims.append((coupon, seqs[coupon], user))
        statements.append(transaction(sorted(claims), counts))
    return "\n".join(statements)


def transaction(claims, counts):
    listed = ",".join(map(str, sorted(counts)))
    change = f"ELT(INTERVAL(id,{listed}),{','.join(str(counts[id]) for id in sorted(counts))})"
    values = ",".join(f"({coupon},{seq},{user},{CLAIMED_AT})" for coupon, seq, user in claims)
    return (f"START TRANSACTION; UPDATE alone_coupons SET left_count=left_count-{change} WHERE id IN ({listed});"
            f"INSERT INTO alone_claims (coupon_id,seq,user_id,claimed_at) VALUES {values}; COMMIT;")


def measure_inserts(service, statements):
    """Rows a second, and MySQL's CPU of one in microseconds."""
    began, used = time.monotonic(), cpu_seconds(service.pid("mariadb"))
    service.mysql(statements)
    took, used = time.monotonic() - began, cpu_seconds(service.pid("mariadb")) - used
    service.mysql("DROP TABLE alone_claims, alone_coupons;")
    return ROWS / took, {"MySQL": used / ROWS * 1e6}
