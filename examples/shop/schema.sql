PRAGMA journal_mode = WAL;

CREATE TABLE category (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL
);

CREATE TABLE product (
    id INTEGER PRIMARY KEY,
    category INTEGER NOT NULL REFERENCES category (id),
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    cents INTEGER NOT NULL,
    version INTEGER NOT NULL DEFAULT 1,
    stock INTEGER NOT NULL CHECK (stock >= 0),
    first_stock INTEGER NOT NULL
);
CREATE INDEX product_of_category ON product (category, cents);

CREATE TABLE review (
    product INTEGER NOT NULL REFERENCES product (id),
    stars INTEGER NOT NULL,
    author TEXT NOT NULL,
    words TEXT NOT NULL
);
CREATE INDEX review_of_product ON review (product);

-- The key is the whole promise that a repeated POST is one order.
CREATE TABLE orders (
    key TEXT PRIMARY KEY,
    product INTEGER NOT NULL REFERENCES product (id),
    quantity INTEGER NOT NULL,
    cents INTEGER NOT NULL
) WITHOUT ROWID;

-- How often each product was shown. An instance counts in rows of its own; `sequence` is that of
-- the last write that was added, so that one which comes again is not added again.
CREATE TABLE view (
    product INTEGER NOT NULL REFERENCES product (id),
    instance TEXT NOT NULL,
    times INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (product, instance)
) WITHOUT ROWID;

-- How many transactions that took, for the report of `escala demo`.
CREATE TABLE view_saves (
    instance TEXT PRIMARY KEY,
    saves INTEGER NOT NULL
) WITHOUT ROWID;
