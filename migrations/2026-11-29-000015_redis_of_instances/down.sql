ALTER TABLE shards DROP previous_run_id;
ALTER TABLE instances DROP redis_run_id, DROP redis_address;
