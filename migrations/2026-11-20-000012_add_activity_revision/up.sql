ALTER TABLE coupons
    ADD COLUMN activity_revision BIGINT UNSIGNED NOT NULL DEFAULT 0
        COMMENT 'the revision that last changed one of its activities; 0: it never had one';
