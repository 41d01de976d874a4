-- Users that `couponrush import` has imported. A coupon is identified by its saler and name, and a claim by its user
-- and coupon. A user of the same name may be a different person, so users need a record.
CREATE TABLE import_sources (
    id SMALLINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    name VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL UNIQUE
        COMMENT 'host:port/database, as that server names itself',
    rows_taken_at DATETIME(3) NULL COMMENT 'when a run had first come through all rows; passwords may still be missing'
) ENGINE = InnoDB;
CREATE TABLE imported_users (
    import_source_id SMALLINT UNSIGNED NOT NULL,
    source_id BIGINT NOT NULL COMMENT 'users.id there',
    user_id BIGINT UNSIGNED NOT NULL UNIQUE,
    PRIMARY KEY (import_source_id, source_id)
) ENGINE = InnoDB;
