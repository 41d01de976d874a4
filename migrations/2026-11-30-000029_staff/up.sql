-- Staff act for a saler. A release that does not know the columns cannot read users of kind staff, and refuses their tokens. The column
-- is not called saler_id, because statements join users with coupons and name saler_id without the table.
ALTER TABLE users
    ADD acts_for BIGINT UNSIGNED NULL COMMENT 'of staff: the saler for whom they act',
    ADD rights TINYINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'of staff: 1 redeem, 2 view, 4 manage; 0: ended, or no staff',
    ADD KEY by_saler (acts_for, rights);
