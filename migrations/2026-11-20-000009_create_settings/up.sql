-- Settings that operators change at run time: the limits of admission and the switches, one JSON object per row.
CREATE TABLE settings (
    name VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY COMMENT 'limits or switches',
    value TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL COMMENT 'a JSON object',
    revision BIGINT UNSIGNED NOT NULL COMMENT 'raised by every change',
    etcd_revision BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'of etcd, which carries this revision; 0: it does not yet',
    changed_at DATETIME(3) NOT NULL COMMENT 'UTC',
    changed_by VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL
) ENGINE = InnoDB;
