CREATE DATABASE IF NOT EXISTS shop;
CREATE TABLE IF NOT EXISTS shop.items (id INT PRIMARY KEY, name VARCHAR(40), price INT) ENGINE=InnoDB;
INSERT INTO shop.items VALUES (1, 'item 1', 10), (2, 'item 2', 20), (3, 'item 3', 30), (4, 'item 4', 40), (5, 'item 5', 50);
INSERT INTO shop.items VALUES (6, 'item 6', 60), (7, 'item 7', 70), (8, 'item 8', 80), (9, 'item 9', 90), (10, 'item 10', 100);
CREATE USER 'app'@'localhost' IDENTIFIED BY 'app-pass';
CREATE USER 'app'@'127.0.0.1' IDENTIFIED BY 'app-pass';
GRANT ALL ON *.* TO 'app'@'localhost';
GRANT ALL ON *.* TO 'app'@'127.0.0.1';
