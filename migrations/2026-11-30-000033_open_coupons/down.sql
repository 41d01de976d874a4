ALTER TABLE coupons DROP KEY coupons_open;
