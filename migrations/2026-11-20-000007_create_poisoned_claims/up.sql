CREATE TABLE poisoned_claims (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    entry VARCHAR(48) CHARACTER SET ascii NOT NULL COMMENT 'the outbox id',
    claim VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL COMMENT 'as it came: coupon:user:seq:nth:activity:epoch',
    reason VARCHAR(255) CHARACTER SET utf8mb4 NOT NULL,
    poisoned_at DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
    UNIQUE KEY once (entry, claim)
) ENGINE = InnoDB;
