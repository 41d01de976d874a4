-- Names, and no ids, because a change through etcd has no user. A release that does not know the columns keeps the earlier name.
-- Columns at the end of a table are added without a copy of its rows.
ALTER TABLE coupons
    ADD changed_by VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT ''
        COMMENT 'the user of the last change; empty: before this column';
ALTER TABLE activities
    ADD changed_by VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT ''
        COMMENT 'the user of the last change; etcd: an operator in etcd; empty: before this column';
ALTER TABLE claims
    ADD redeemed_by VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL
        COMMENT 'the user who redeemed the claim; null: nobody, or before this column';
