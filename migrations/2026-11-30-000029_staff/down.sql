ALTER TABLE users DROP KEY by_saler, DROP rights, DROP saler_id;
