CREATE TABLE orders (id integer PRIMARY KEY, item text NOT NULL);
INSERT INTO orders VALUES (17, 'a lantern'), (18, 'a portcullis');
