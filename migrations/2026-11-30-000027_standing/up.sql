-- A release that does not know the columns registers salers who need no approval, and coupons that are sold.
ALTER TABLE users
    ADD COLUMN approved BOOLEAN NOT NULL DEFAULT FALSE COMMENT 'a saler whom an admin has approved',
    ADD COLUMN awaits_approval BOOLEAN NOT NULL DEFAULT FALSE COMMENT 'a saler whose coupons are not sold before the approval',
    ADD COLUMN sales_withheld BOOLEAN NOT NULL DEFAULT FALSE COMMENT 'of a saler who awaits approval, or whom an admin has blocked',
    ADD COLUMN erased_at BIGINT UNSIGNED NULL COMMENT 'seconds since 1970 UTC; the claims stay',
    ADD KEY by_standing (sales_withheld, awaits_approval);
UPDATE users SET approved = TRUE WHERE kind = 'saler';
ALTER TABLE coupons
    ADD COLUMN withheld BOOLEAN NOT NULL DEFAULT FALSE COMMENT 'as sales_withheld of the saler; in Redis a scheduled coupon without activities';
-- A freed name is never given out again, because coupons, logs and caches know it.
CREATE TABLE freed_names (
    name_hash VARBINARY(32) NOT NULL PRIMARY KEY COMMENT 'SHA-256'
) ENGINE = InnoDB;
