-- A finished coupon leaves Redis. The release before this migration leaves these columns at their defaults.
ALTER TABLE coupons
    ADD archived BOOLEAN NOT NULL DEFAULT FALSE COMMENT 'not sold; Redis shall have a tombstone',
    ADD unloaded BOOLEAN NOT NULL DEFAULT FALSE
        COMMENT 'Redis may lack claims of the coupon: true from archiving until all claims are back in Redis',
    ADD first_archived_at DATETIME(3) NULL COMMENT 'never cleared; null: claims of the coupon are all in Redis',
    ADD KEY by_archive (archived, changed_at);
