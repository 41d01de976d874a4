-- More than one shard. A release that knows only the first shard leaves these columns at their defaults. It does not run
-- beside other shards, because they need a format that it does not know.
ALTER TABLE coupons
    ADD shard VARCHAR(16) CHARACTER SET ascii NOT NULL DEFAULT 's0' COMMENT 'where the coupon is sold; never changes',
    ADD KEY by_shard (archived, shard);
ALTER TABLE instances
    ADD shard VARCHAR(16) CHARACTER SET ascii NOT NULL DEFAULT 's0' COMMENT 'a process has a row for each shard it knows',
    ADD draining BOOLEAN NOT NULL DEFAULT FALSE COMMENT 'it stops soon, and serves users only until then',
    DROP PRIMARY KEY,
    ADD PRIMARY KEY (instance, shard);
