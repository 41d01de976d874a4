-- A batch of claims begins by writing its number into the row of its process. A rebuild writes all rows of the shard, so
-- it waits for open batches, and a MySQL that goes back in time has lower numbers than the processes and Redis know.
CREATE TABLE ledgers (
    shard VARCHAR(16) CHARACTER SET ascii NOT NULL,
    process VARCHAR(64) CHARACTER SET ascii NOT NULL,
    epoch INT UNSIGNED NOT NULL COMMENT 'of the shard, as the last rebuild left it',
    counter BIGINT UNSIGNED NOT NULL COMMENT 'number of the last batch that the process has committed',
    PRIMARY KEY (shard, process)
) ENGINE = InnoDB;
ALTER TABLE shards
    ADD joined INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'rows ever added to ledgers; a change that conflicts with a rebuild';
