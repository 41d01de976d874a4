CREATE TABLE shards (
    shard VARCHAR(16) CHARACTER SET ascii NOT NULL PRIMARY KEY,
    epoch INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'how often the shard was rebuilt',
    run_id VARCHAR(64) CHARACTER SET ascii NOT NULL DEFAULT '' COMMENT 'the Redis process that was loaded last',
    state VARCHAR(16) CHARACTER SET ascii NOT NULL DEFAULT 'recovering' COMMENT 'live or recovering',
    token VARCHAR(64) CHARACTER SET ascii NOT NULL DEFAULT '' COMMENT 'of the instance that rebuilds',
    next_epoch INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'what a rebuild under way will raise epoch to',
    found_live VARCHAR(128) CHARACTER SET ascii NULL COMMENT 'what the key live held when the rebuild began'
) ENGINE = InnoDB;
INSERT INTO shards (shard) VALUES ('s0');
