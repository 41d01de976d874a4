DROP TABLE merchant_keys;
