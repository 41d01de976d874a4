-- A release that does not know the columns sells without these conditions.
ALTER TABLE activities
    ADD registered_before BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'seconds since 1970; 0: no condition',
    ADD last_user_id BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'the last user registered before that time',
    ADD network_winners SMALLINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'claims of a network; 0: no condition',
    ADD ticket TINYINT NOT NULL DEFAULT 0 COMMENT '0: none; 1 to 22: bits of work; -1: signed by the operator''s check';
