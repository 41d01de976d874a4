ALTER TABLE coupons DROP KEY by_archive, DROP archived, DROP unloaded, DROP first_archived_at;
