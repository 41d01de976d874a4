-- A release that does not know the column leaves it empty, and is not counted.
ALTER TABLE instances
    ADD mysql_server VARCHAR(255) CHARACTER SET utf8mb4 NOT NULL DEFAULT '' COMMENT 'the server that took the last beat';
