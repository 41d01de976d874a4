ALTER TABLE shards DROP joined;
DROP TABLE ledgers;
