CREATE TABLE users (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    username VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL UNIQUE,
    kind VARCHAR(8) CHARACTER SET ascii NOT NULL COMMENT 'customer, saler or admin',
    password_hash VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL
        COMMENT 'argon2id PHC string; md5: before it where it wraps an imported MD5; empty: cannot log in yet',
    token_generation INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'tokens of a lower one do not count',
    created_at DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3)
) ENGINE = InnoDB;
