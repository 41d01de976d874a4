-- Who did what, when, from where. Each instance adds its own events.
CREATE TABLE audit_trail (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    at_ms BIGINT UNSIGNED NOT NULL COMMENT 'milliseconds since 1970',
    actor VARCHAR(64) NOT NULL COMMENT 'the name of the user; empty without a session',
    actor_kind VARCHAR(16) NOT NULL COMMENT 'empty without a session',
    event VARCHAR(64) NOT NULL COMMENT 'the operation in the OpenAPI document',
    object VARCHAR(500) NOT NULL COMMENT 'the path of the request',
    address VARCHAR(45) NOT NULL,
    request_id VARCHAR(128) NOT NULL,
    status SMALLINT UNSIGNED NOT NULL COMMENT 'of the answer',
    repeated INT UNSIGNED NOT NULL COMMENT 'equal events of the same minute that have no row',
    KEY audit_trail_at (at_ms),
    KEY audit_trail_actor (actor, id),
    KEY audit_trail_event (event, id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
