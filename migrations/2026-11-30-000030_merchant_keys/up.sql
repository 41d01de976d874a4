-- Keys with which programs and tills act for a saler.
CREATE TABLE merchant_keys (
    id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    saler_id BIGINT UNSIGNED NOT NULL,
    name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    rights TINYINT UNSIGNED NOT NULL COMMENT '1 redeem, 2 view, 4 manage',
    secret_hash BINARY(32) NOT NULL COMMENT 'SHA-256 of the random part',
    created_at BIGINT UNSIGNED NOT NULL COMMENT 'seconds since 1970 UTC',
    expires_at BIGINT UNSIGNED NULL COMMENT 'seconds since 1970 UTC; null: never',
    last_used_at BIGINT UNSIGNED NULL COMMENT 'seconds since 1970 UTC, up to a minute old; null: never used',
    ended_at BIGINT UNSIGNED NULL COMMENT 'seconds since 1970 UTC, when the saler deleted it',
    changed_at DATETIME(3) NOT NULL COMMENT 'UTC, by which instances find what is new; the last use is no change',
    KEY by_saler (saler_id, ended_at),
    KEY by_time (changed_at),
    KEY by_end (ended_at)
) ENGINE = InnoDB;
