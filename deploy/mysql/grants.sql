-- Users with the least rights, for the database `couponrush`. Change the passwords and the hosts.
--
--   mysql <grants.sql
--   COUPONRUSH_MYSQL_URL=mysql://couponrush-owner:...@db/couponrush couponrush migrate
--   COUPONRUSH_MYSQL_URL=mysql://couponrush:...@db/couponrush couponrush serve --no-migrate
CREATE DATABASE IF NOT EXISTS couponrush;

-- For `serve --no-migrate` and every command but those below.
CREATE USER IF NOT EXISTS 'couponrush'@'%' IDENTIFIED BY 'change-me';
GRANT SELECT, INSERT, UPDATE, DELETE ON couponrush.* TO 'couponrush'@'%';

-- For `migrate` and `raise-format`.
CREATE USER IF NOT EXISTS 'couponrush-owner'@'%' IDENTIFIED BY 'change-me';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX ON couponrush.* TO 'couponrush-owner'@'%';
