CREATE TABLE known_networks (
    user_id BIGINT UNSIGNED NOT NULL,
    network VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'an IPv4 address; the first address of an IPv6 /64',
    seen_at BIGINT UNSIGNED NOT NULL COMMENT 'a login from there, in seconds since 1970 UTC; at most a day older than the last one',
    PRIMARY KEY (user_id, network),
    KEY by_time (seen_at)
) ENGINE = InnoDB;
-- Instances read the names of admins every second.
ALTER TABLE users ADD KEY by_kind (kind);
