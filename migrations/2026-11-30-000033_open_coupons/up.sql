-- Counts the open coupons of all merchants, and their units, without reading the rows of archived coupons.
ALTER TABLE coupons ADD KEY coupons_open (archived, amount);
