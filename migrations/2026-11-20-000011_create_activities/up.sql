CREATE TABLE activities (
    id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    coupon_id BIGINT UNSIGNED NOT NULL,
    name VARCHAR(60) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    start_time BIGINT UNSIGNED NOT NULL COMMENT 'seconds since 1970 UTC; sold from then on',
    end_time BIGINT UNSIGNED NOT NULL COMMENT 'seconds since 1970 UTC; not sold from then on',
    total INT UNSIGNED NOT NULL DEFAULT 0 COMMENT '0: the whole amount of the coupon',
    status TINYINT UNSIGNED NOT NULL DEFAULT 0 COMMENT '0 normal, 1 disabled, 2 declared sold out',
    speed INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'claims in a second; 0: no limit',
    buy_limit TINYINT UNSIGNED NOT NULL DEFAULT 1 COMMENT 'claims of a user, over all activities of the coupon',
    buy_rate DOUBLE NOT NULL DEFAULT 1 COMMENT 'share of the attempts that are let through, 0 to 1',
    revision BIGINT UNSIGNED NOT NULL DEFAULT 1 COMMENT 'raised by every change',
    etcd_revision BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'of the etcd write that carries the row as it stands; 0: none does',
    changed_at DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
    created_at DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
    KEY of_coupon (coupon_id, start_time),
    KEY by_change (changed_at),
    KEY in_etcd (etcd_revision, end_time)
) ENGINE = InnoDB;
