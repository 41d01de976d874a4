-- An operator who has dealt with a poisoned claim acknowledges it. The audit then counts the claim apart.
ALTER TABLE poisoned_claims
    ADD COLUMN acknowledged_at DATETIME(3) NULL COMMENT 'UTC; null: nobody has acknowledged it',
    ADD COLUMN acknowledged_by VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL COMMENT 'as the operator said';
