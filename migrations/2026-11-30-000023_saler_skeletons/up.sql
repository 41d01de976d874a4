-- Names of salers that look alike have one skeleton. A release that does not know the table registers salers without a row,
-- and an instance of this release enters them within an hour.
CREATE TABLE saler_skeletons (
    skeleton VARBINARY(768) NOT NULL PRIMARY KEY COMMENT 'UTS 39, of the name, cut to 768 bytes',
    user_id BIGINT UNSIGNED NOT NULL COMMENT 'the saler who holds it; a later one with an equal skeleton has no row',
    KEY by_user (user_id)
) ENGINE = InnoDB;
