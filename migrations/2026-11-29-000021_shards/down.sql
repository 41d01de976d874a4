DELETE FROM instances WHERE shard <> 's0';
ALTER TABLE instances DROP PRIMARY KEY, ADD PRIMARY KEY (instance), DROP shard, DROP draining;
ALTER TABLE coupons DROP KEY by_shard, DROP shard;
