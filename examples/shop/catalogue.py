"""Catalogue pages and the search: the reads that most of the traffic asks for."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from html import escape

from shop.answer import CATALOGUE, NEVER, SEARCH, Answer, json_answer, page, problem
from shop.database import Database

CANDIDATES = 500
SHOWN = 60


def product(database: Database, number: int) -> Answer:
    """A product with its reviews and what else could be bought instead."""
    db = database.connection
    row = db.execute("SELECT * FROM product WHERE id = ?", (number,)).fetchone()
    if row is None:
        return problem(404, f"there is no product {number}")
    reviews = db.execute("SELECT * FROM review WHERE product = ?", (number,)).fetchall()
    others = db.execute(
        "SELECT * FROM product WHERE id <> ? AND cents BETWEEN ? AND ? LIMIT ?",
        (number, row["cents"] * 3 // 4, row["cents"] * 3 // 2, CANDIDATES),
    ).fetchall()
    words = _words(row)
    others.sort(key=lambda other: _likeness(words, _words(other)), reverse=True)
    related = others[:SHOWN]
    stars = Counter(review["stars"] for review in reviews)
    html = (
        f"<h1>{escape(row['name'])}</h1><p>{_marked(row['description'])}</p>"
        f"<b>{_money(row['cents'])}</b>"
        + "".join(f"<li>{'*' * review['stars']} {_marked(review['words'])}" for review in reviews)
        + _tiles(related)
    )
    content = {"id": number, "name": row["name"], "stars": dict(stars), "html": html}
    return page(content, CATALOGUE, [number, *_ids(related)])


def category(database: Database, number: int) -> Answer:
    """The products of a category, cheapest first, with a histogram of prices."""
    db = database.connection
    head = db.execute("SELECT name FROM category WHERE id = ?", (number,)).fetchone()
    if head is None:
        return problem(404, f"there is no category {number}")
    rows = db.execute(
        "SELECT product.*, avg(stars) AS mean, group_concat(words, ' ') AS said "
        "FROM product JOIN review ON review.product = product.id "
        "WHERE category = ? GROUP BY product.id ORDER BY cents",
        (number,),
    ).fetchall()
    prices = Counter(row["cents"] // 10_000 for row in rows)
    words = Counter(word for row in rows for word in row["said"].lower().split())
    content = {
        "id": number,
        "name": head["name"],
        "prices": dict(prices),
        "words": words.most_common(12),
        "loved": [row["id"] for row in rows if row["mean"] > 4],  # noqa: PLR2004  stars
        "html": f"<h1>{escape(head['name'])}</h1>" + _tiles(rows),
    }
    return page(content, CATALOGUE, _ids(rows))


def search(database: Database, words: str) -> Answer:
    """The best matches, ranked: a scan of every description, several times a page's cost."""
    terms = re.findall(r"\w+", words.lower())[:6]
    if not terms:
        return problem(400, "say what to search for: /api/search?q=oak+lamp")
    # Every row is looked at, as in any small shop that has no full-text index yet.
    where = " AND ".join(
        "instr(lower(name || ' ' || description || ' ' || said), ?)" for _ in terms
    )
    rows = database.connection.execute(
        "SELECT product.*, group_concat(words, ' ') AS said "  # noqa: S608  placeholders only
        "FROM product JOIN review ON review.product = product.id AND stars > 3 "
        f"GROUP BY product.id HAVING {where}",
        terms,
    ).fetchall()
    best = sorted(rows, key=lambda row: _score(row, terms), reverse=True)[:SHOWN]
    content = {"found": len(rows), "html": _tiles(best)}
    return page(content, SEARCH, _ids(best))


def stock(database: Database, number: int) -> Answer:
    """How many are left: never cached, because a wrong answer is a broken promise."""
    row = database.connection.execute(
        "SELECT stock FROM product WHERE id = ?", (number,)
    ).fetchone()
    if row is None:
        return problem(404, f"there is no product {number}")
    return json_answer({"id": number, "stock": row["stock"]}, cache_control=NEVER)


def _ids(rows: list[sqlite3.Row]) -> list[int]:
    return [row["id"] for row in rows]


def _words(row: sqlite3.Row) -> set[str]:
    return set(f"{row['name']} {row['description']}".lower().split())


def _likeness(one: set[str], other: set[str]) -> float:
    return len(one & other) / len(one | other)


def _score(row: sqlite3.Row, terms: list[str]) -> float:
    name, text = row["name"].lower(), row["description"].lower()
    return sum(5 * name.count(term) + text.count(term) for term in terms) / len(text)


def _tiles(rows: list[sqlite3.Row]) -> str:
    return "".join(
        f'<article><a href="/api/product/{row["id"]}">{escape(row["name"])}</a>'
        f"<p>{_marked(row['description'][:160])}</p><b>{_money(row['cents'])}</b></article>"
        for row in rows
    )


def _marked(text: str) -> str:
    return re.sub(r"\b(oak|brass|hand)\b", r"<mark>\1</mark>", escape(text))


def _money(cents: int) -> str:
    return f"{cents // 100:,}.{cents % 100:02d}"
