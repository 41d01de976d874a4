DROP TABLE saler_skeletons;
