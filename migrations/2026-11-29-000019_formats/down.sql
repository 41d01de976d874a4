-- MySQL drops no column that a constraint needs, and a constraint only by its name, which may be missing. The rows of
-- instances come back with their next beat.
DROP TABLE instances;
CREATE TABLE instances (
    instance VARCHAR(255) CHARACTER SET ascii NOT NULL PRIMARY KEY COMMENT 'host and HTTP address',
    process VARCHAR(32) CHARACTER SET ascii NOT NULL COMMENT 'made anew at each start',
    beat_at DATETIME(3) NOT NULL,
    acknowledged_epoch INT UNSIGNED NOT NULL DEFAULT 0,
    oldest_entry VARCHAR(32) CHARACTER SET ascii NULL COMMENT 'the oldest outbox id in its channel or batch',
    redis_run_id VARCHAR(64) CHARACTER SET ascii NOT NULL DEFAULT '' COMMENT 'the Redis process it reaches; empty: none',
    redis_address VARCHAR(255) NOT NULL DEFAULT '' COMMENT 'of that process, as the instance reaches it',
    label VARCHAR(255) CHARACTER SET ascii NOT NULL DEFAULT '' COMMENT 'host and HTTP address; instance then has the process. Empty: instance has host and HTTP address',
    beat_number BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'of the last beat; 0: the program does not number beats'
) ENGINE = InnoDB;
ALTER TABLE shards DROP format, DROP wanted_format;
