ALTER TABLE users DROP KEY by_kind;
DROP TABLE known_networks;
