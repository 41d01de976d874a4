ALTER TABLE poisoned_claims DROP COLUMN acknowledged_by, DROP COLUMN acknowledged_at;
