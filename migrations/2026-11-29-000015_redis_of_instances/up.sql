-- Instances that reach different Redis processes must agree on the process that has the shard.
ALTER TABLE instances
    ADD redis_run_id VARCHAR(64) CHARACTER SET ascii NOT NULL DEFAULT '' COMMENT 'the Redis process it reaches; empty: none',
    ADD redis_address VARCHAR(255) NOT NULL DEFAULT '' COMMENT 'of that process, as the instance reaches it';
ALTER TABLE shards
    ADD previous_run_id VARCHAR(64) CHARACTER SET ascii NOT NULL DEFAULT '' COMMENT 'the Redis process that was loaded before run_id';
