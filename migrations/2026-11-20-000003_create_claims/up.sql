-- Without foreign keys: they made disjoint batches deadlock. Without a third index: inserts of random users became ten
-- times slower.
CREATE TABLE claims (
    coupon_id BIGINT UNSIGNED NOT NULL,
    seq INT UNSIGNED NOT NULL,
    user_id BIGINT UNSIGNED NOT NULL,
    nth TINYINT UNSIGNED NOT NULL,
    activity_id INT UNSIGNED NOT NULL DEFAULT 0 COMMENT '0: none',
    claimed_at BIGINT UNSIGNED NOT NULL COMMENT 'milliseconds since 1970 UTC, by the clock of Redis',
    redeemed_at BIGINT UNSIGNED NULL COMMENT 'milliseconds since 1970 UTC',
    PRIMARY KEY (coupon_id, seq),
    UNIQUE KEY holder (user_id, coupon_id, nth)
) ENGINE = InnoDB;
