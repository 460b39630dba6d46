"""Run one instance of the shop: `python -m shop --port 9001 --db shop.sqlite3`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import uvicorn

from shop.app import Shop
from shop.seed import seed


def main() -> int:
    """Serve until told to stop; a database that is not there yet is filled first."""
    parser = argparse.ArgumentParser(prog="shop", description=__doc__)
    parser.add_argument("--port", type=int, default=9001)
    parser.add_argument("--db", type=Path, default=Path("shop.sqlite3"))
    args = parser.parse_args()
    if not args.db.exists():
        seed(args.db)
    # Two threads and the loop share one interpreter: hand over often, so the loop stays quick.
    sys.setswitchinterval(0.001)
    uvicorn.run(
        Shop(args.db, str(args.port), plain=os.environ.get("SHOP_PLAIN") == "1"),
        host="127.0.0.1",
        port=args.port,
        access_log=False,
        log_level="warning",
        timeout_keep_alive=120,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
