-- The version of keys, outbox entries and script arguments. Rows of the release before this migration get format 1.
ALTER TABLE shards
    ADD format TINYINT UNSIGNED NOT NULL DEFAULT 1 COMMENT 'of the data in Redis and of the outbox',
    ADD wanted_format TINYINT UNSIGNED NOT NULL DEFAULT 1 COMMENT 'that the next rebuild raises format to';
ALTER TABLE instances
    ADD format TINYINT UNSIGNED NOT NULL DEFAULT 1 COMMENT 'the highest that the instance knows';
