"""Fill a fresh database with the same catalogue every time: `python -m shop.seed shop.sqlite3`."""

from __future__ import annotations

import argparse
import random
import sqlite3
from pathlib import Path

PRODUCTS = 4000
CATEGORIES = 60
REVIEWS_EACH = 12
STOCK = 5000

_MAKES = ("Alder", "Birch", "Cobalt", "Dune", "Ember", "Fjord", "Gale", "Harbour", "Iris", "Larch")
_KINDS = (
    *("Kettle", "Lamp", "Desk", "Chair", "Clock", "Radio", "Knife", "Bowl", "Rug", "Shelf"),
    *("Mirror", "Basket", "Stool", "Jug", "Vase"),
)
_TRAITS = (
    *("small", "tall", "folding", "quiet", "heavy", "light", "round", "square", "brushed"),
    *("oiled", "woven", "striped", "plain"),
)
_WORDS = (
    *("made", "of", "solid", "oak", "and", "brass", "with", "a", "soft", "finish", "that", "lasts"),
    *("for", "years", "in", "any", "room", "keeps", "its", "colour", "is", "easy", "to", "clean"),
    *("simple", "mend", "comes", "spare", "parts", "leaflet", "four", "languages", "packed"),
    *("without", "plastic", "tested", "by", "hand", "sold", "the", "people", "who", "it"),
)


def seed(path: Path, *, products: int = PRODUCTS, number: int = 1) -> None:
    """Write the catalogue to a database that does not exist yet."""
    draw = random.Random(number)
    db = sqlite3.connect(path)
    try:
        db.executescript(Path(__file__).with_name("schema.sql").read_text())
        db.executemany(
            "INSERT INTO category VALUES (?, ?)",
            [(n, f"{_KINDS[n % 15]}s, {_TRAITS[n % 13]}") for n in range(1, CATEGORIES + 1)],
        )
        db.executemany(
            "INSERT INTO product VALUES (?, ?, ?, ?, ?, 1, ?, ?)",
            [_product(n, draw) for n in range(1, products + 1)],
        )
        db.executemany(
            "INSERT INTO review VALUES (?, ?, ?, ?)",
            (
                (n, draw.randint(1, 5), draw.choice(_MAKES), _sentence(draw, 14))
                for n in range(1, products + 1)
                for _ in range(REVIEWS_EACH)
            ),
        )
        db.commit()
    finally:
        db.close()


def _product(n: int, draw: random.Random) -> tuple[int, int, str, str, int, int, int]:
    name = f"{draw.choice(_MAKES)} {draw.choice(_TRAITS)} {draw.choice(_KINDS)} No. {n}"
    category = 1 + n % CATEGORIES
    return n, category, name, _sentence(draw, 70), draw.randint(250, 90_000), STOCK, STOCK


def _sentence(draw: random.Random, words: int) -> str:
    return " ".join(draw.choices(_WORDS, k=words)).capitalize() + "."


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="shop.seed", description=__doc__)
    parser.add_argument("db", type=Path)
    seed(parser.parse_args().db)
