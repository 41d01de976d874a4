ALTER TABLE coupons DROP COLUMN activity_revision;
