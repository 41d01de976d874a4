DROP TABLE poisoned_claims;
