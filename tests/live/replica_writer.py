"""Writes notes and says after each, on its standard output, the token of having done so."""

from __future__ import annotations

import sys

from sqlalchemy import insert, table
from sqlalchemy.sql import column

from escala import Database

NOTES = table("replica_notes", column("id"), column("body"))


def write(url: str, secret: str, count: int) -> None:
    with Database(url, secret=secret) as db:
        for number in range(count):
            with db.consistency() as seen:
                with db.session() as session:
                    session.execute(insert(NOTES).values(id=number, body=str(number)))
                    session.commit()
                print(number, seen.token(), flush=True)  # noqa: T201  it is read by the test


if __name__ == "__main__":
    write(sys.argv[1], sys.argv[2], int(sys.argv[3]))
