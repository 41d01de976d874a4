CREATE TABLE instances (
    instance VARCHAR(255) CHARACTER SET ascii NOT NULL PRIMARY KEY COMMENT 'host and HTTP address',
    process VARCHAR(32) CHARACTER SET ascii NOT NULL COMMENT 'made anew at each start',
    beat_at DATETIME(3) NOT NULL,
    acknowledged_epoch INT UNSIGNED NOT NULL DEFAULT 0,
    oldest_entry VARCHAR(32) CHARACTER SET ascii NULL COMMENT 'the oldest outbox id in its channel or batch'
) ENGINE = InnoDB;
