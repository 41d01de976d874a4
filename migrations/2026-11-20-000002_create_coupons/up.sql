CREATE TABLE coupons (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    saler_id BIGINT UNSIGNED NOT NULL,
    name VARCHAR(60) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    amount INT UNSIGNED NOT NULL,
    left_count INT NOT NULL COMMENT 'amount less the rows in claims; signed, so that a fault shows instead of failing',
    face_value INT UNSIGNED NOT NULL,
    description VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    scheduled BOOLEAN NOT NULL DEFAULT FALSE COMMENT 'sold only inside an activity',
    revision BIGINT UNSIGNED NOT NULL DEFAULT 1 COMMENT 'raised by every change',
    published_revision BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'the highest that Redis is known to have',
    lags BOOLEAN AS (published_revision < revision) STORED,
    changed_at DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
    created_at DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
    UNIQUE KEY saler_and_name (saler_id, name),
    KEY lagging (lags, changed_at)
) ENGINE = InnoDB;
