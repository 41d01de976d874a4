ALTER TABLE claims DROP redeemed_by;
ALTER TABLE activities DROP changed_by;
ALTER TABLE coupons DROP changed_by;
