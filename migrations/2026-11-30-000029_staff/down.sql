ALTER TABLE users DROP KEY by_saler, DROP rights, DROP acts_for;
