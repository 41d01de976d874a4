CREATE TABLE blocks (
    kind VARCHAR(8) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'user or address',
    value VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'a user id; an IPv4 address; the first address of an IPv6 /64',
    ends_at BIGINT UNSIGNED NULL COMMENT 'seconds since 1970 UTC; null: for ever; 0: taken away',
    since BIGINT UNSIGNED NOT NULL COMMENT 'seconds since 1970 UTC',
    blocked_by VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL COMMENT 'an admin; empty: by itself',
    reason VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'admin or offender',
    changed_at DATETIME(3) NOT NULL COMMENT 'UTC, by which instances find what is new',
    PRIMARY KEY (kind, value),
    KEY by_time (changed_at),
    KEY by_end (ends_at)
) ENGINE = InnoDB;
