DROP TABLE imported_users;
DROP TABLE import_sources;
