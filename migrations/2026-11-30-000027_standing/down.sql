DROP TABLE freed_names;
ALTER TABLE coupons DROP COLUMN withheld;
ALTER TABLE users DROP KEY by_standing, DROP COLUMN sales_withheld, DROP COLUMN awaits_approval, DROP COLUMN approved,
    DROP COLUMN erased_at;
