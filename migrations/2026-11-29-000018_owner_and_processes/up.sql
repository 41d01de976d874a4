-- Two databases must not share one Redis, and two processes must not share one row. A program that does not know these
-- columns leaves them at their defaults.
ALTER TABLE instances
    ADD label VARCHAR(255) CHARACTER SET ascii NOT NULL DEFAULT '' COMMENT 'host and HTTP address; instance then has the process. Empty: instance has host and HTTP address',
    ADD beat_number BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'of the last beat; 0: the program does not number beats';
ALTER TABLE installation
    ADD installation_id VARCHAR(32) CHARACTER SET ascii NOT NULL DEFAULT '' COMMENT 'random; empty: not made yet';
ALTER TABLE shards
    ADD redis_address VARCHAR(255) NOT NULL DEFAULT '' COMMENT 'of the Redis process that was loaded last, as its loader reached it';
