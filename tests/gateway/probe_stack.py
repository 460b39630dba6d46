"""A stack file with policies of a third-party package, and ways to read variants of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from escala.errors import ConfigError
from escala.gateway.stack_file import StackFile, load_stack
from escala.kernel.problem import Problem

PLUGIN = '''
from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, structs

from escala.kernel.config import options
from escala.kernel.policy import Policy
from escala.kernel.units import PositiveDuration, PositiveSize, Share


class Probe(Policy):
    def __init__(self, **given):
        self.options = options(self.Options, given, where=type(self).__name__)

    @classmethod
    def build(cls, options, scope):
        made = cls(**structs.asdict(options))
        made.scope = scope
        return made

    async def around(self, call, runtime):
        return await call()


class Again(Probe):
    kind = "again"

    class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """How often."""

        attempts: Annotated[int, Meta(ge=1)] = 3
        """How many tries."""
        budget: Share | None = Share("20%")
        names: tuple[str, ...] = ()

        def __post_init__(self):
            if self.attempts == 13:
                raise ValueError("expected another number of attempts, found 13")


class Wait(Probe):
    kind = "wait"
    shorthand = "after"

    class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        after: PositiveDuration

    def __init__(self, after, **given):
        super().__init__(after=after, **given)


class Keep(Probe):
    kind = "keep"
    shorthand = "size"

    class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        size: PositiveSize = PositiveSize("64MiB")

    def __init__(self, *, size="64MiB"):
        super().__init__(size=size)
'''

GOOD = """
listen: 127.0.0.1:8080
admin: 127.0.0.1:8081          # metrics and status
workers: 2
upstreams:
  shop:
    targets: [127.0.0.1:9001, 127.0.0.1:9002, {url: "http://127.0.0.1:9003", weight: 2}]
    balance: least_connections
    health: {path: /health, interval: 2s, timeout: 400ms, fall: 3, rise: 2}
routes:
  - path: /api/
    methods: [GET, POST]
    upstream: shop
    policies:                  # outermost first
      - keep
      - keep: {size: 32MiB}
      - keep: 1kB
      - again: {attempts: 4, budget: 10%, names: [a, b]}
      - again:
      - wait: 1s
"""


def load(
    tmp_path: Path, text: str, *, warnings: list[Problem] | None = None, **environ: str
) -> StackFile:
    file = tmp_path / "stack.yaml"
    file.write_text(text)
    return load_stack(file, environ, warn=None if warnings is None else warnings.append)


def refused(tmp_path: Path, text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, warnings=None, **environ)
    return [line.removeprefix(f"{tmp_path}/") for line in caught.value.problems]


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)
