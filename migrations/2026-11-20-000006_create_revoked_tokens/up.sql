CREATE TABLE revoked_tokens (
    user_id BIGINT UNSIGNED NOT NULL,
    jti VARCHAR(48) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'empty: all of the user below generation',
    generation INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'where jti is empty',
    expires_at BIGINT UNSIGNED NOT NULL COMMENT 'seconds since 1970 UTC; the row is useless from then on',
    revoked_at DATETIME(3) NOT NULL COMMENT 'UTC, so that no change of local time hides a row',
    PRIMARY KEY (user_id, jti),
    KEY by_time (revoked_at),
    KEY by_end (expires_at)
) ENGINE = InnoDB;
