-- Nearly every claim is its user's first. The ledger omits the column for those, so MySQL has less to parse.
ALTER TABLE claims ALTER COLUMN nth SET DEFAULT 1;
