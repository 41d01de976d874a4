-- Second factors of users who have begun or finished to enrol.
CREATE TABLE second_factors (
    user_id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
    secret VARBINARY(128) NULL COMMENT 'in force; encrypted, with the id of its key; null before the first confirmation',
    last_step BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'the last step of 30 s whose code has counted',
    tries INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'codes of the telephone that were checked since tries_since, and the last right one',
    tries_since BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'in seconds since 1970 UTC',
    pending VARBINARY(128) NULL COMMENT 'a new secret that its user has not confirmed yet, encrypted likewise',
    pending_at BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'since when, in seconds since 1970 UTC'
) ENGINE = InnoDB;
-- Codes for users who have lost their telephone. A row is deleted when its code has counted.
CREATE TABLE recovery_codes (
    user_id BIGINT UNSIGNED NOT NULL,
    code_hash VARBINARY(32) NOT NULL COMMENT 'SHA-256; a code has 120 random bits',
    PRIMARY KEY (user_id, code_hash)
) ENGINE = InnoDB;
