"""The targets of one upstream: each once, and each of that upstream alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from escala.balancing.target import Target, TargetOptions
from escala.errors import ConfigError
from escala.kernel.wrong_value import shown

if TYPE_CHECKING:
    from escala.balancing.upstream import Upstream


def target_list(
    upstream: Upstream, targets: Iterable[Target | TargetOptions | str]
) -> list[Target]:
    """Targets from what a caller lists; `ConfigError` for none, a double, and another's."""
    name = upstream.name
    if isinstance(targets, (str, bytes, Mapping)) or not isinstance(targets, Iterable):
        raise ConfigError(f"upstream {name}: expected a list of targets, found {shown(targets)}")
    made = [_target(each) for each in targets]
    if not made:
        raise ConfigError(f"upstream {name}: expected at least one target, found none")
    seen: set[str] = set()
    for target in made:
        if target.url in seen:
            raise ConfigError(f"upstream {name}: the target {target.url} is listed twice")
        if target.upstream not in (None, upstream):
            raise ConfigError(
                f"upstream {name}: {target!r} belongs to upstream {target.upstream.name} already; "
                "make one for each"
            )
        seen.add(target.url)
    return made


def _target(given: Target | TargetOptions | str) -> Target:
    if isinstance(given, Target):
        return given
    if isinstance(given, TargetOptions):
        return Target(given.url, weight=given.weight, zone=given.zone, priority=given.priority)
    return Target(given)
