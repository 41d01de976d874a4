ALTER TABLE instances DROP COLUMN mysql_server;
