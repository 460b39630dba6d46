"""Faults on purpose, for the demo: slowness and errors that can be switched on from outside.

Nothing of this exists unless the environment says SHOP_FAULTS=1.
"""

from __future__ import annotations

import os
import random

import msgspec

from escala.kernel.runtime import colours
from shop.answer import Answer, json_answer, problem


class Faults(msgspec.Struct, forbid_unknown_fields=True):
    """`slow` is seconds added to every answer, `errors` the share of answers that are 500."""

    slow: float = 0.0
    errors: float = 0.0


class Saboteur:
    """Holds the faults of this instance and applies them."""

    def __init__(self) -> None:
        self.armed = os.environ.get("SHOP_FAULTS") == "1"
        self._faults = Faults()
        self._draw = random.Random(1)

    def set(self, body: bytes) -> Answer:
        """POST /faults with {"slow": 1.5, "errors": 0.5}; an empty object makes all well."""
        try:
            self._faults = msgspec.json.decode(body, type=Faults)
        except msgspec.DecodeError as error:
            return problem(400, str(error))
        return json_answer(self._faults)

    async def strike(self) -> Answer | None:
        """Wait as long as the fault says, and perhaps answer instead of the shop."""
        if self._faults.slow > 0:
            await colours.loop.sleep(self._faults.slow)
        if self._faults.errors > 0 and self._draw.random() < self._faults.errors:
            return problem(500, "broken on purpose")
        return None
