-- A single row. A failover to a MySQL server without the last commits must not issue an id for the second time.
CREATE TABLE installation (
    id TINYINT UNSIGNED NOT NULL PRIMARY KEY COMMENT 'always 1',
    mysql_server VARCHAR(255) CHARACTER SET ascii NOT NULL DEFAULT ''
        COMMENT 'the server that last issued an id of a user, coupon or activity; empty: none since this migration',
    id_moves INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'how often AUTO_INCREMENT was moved on by 100,000'
) ENGINE = InnoDB;
INSERT INTO installation (id) VALUES (1);
