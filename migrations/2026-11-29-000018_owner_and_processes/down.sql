ALTER TABLE shards DROP redis_address;
ALTER TABLE installation DROP installation_id;
ALTER TABLE instances DROP beat_number, DROP label;
