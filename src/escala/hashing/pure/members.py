"""The nodes of a map and their weights, checked once so that no lookup has to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from escala.errors import ConfigError

Weights = dict[str, float]

MOST_NODES = 100_000
LIGHTEST, HEAVIEST = 0.001, 1_000_000.0
MOST_SEEDS = 2**64


def members(where: str, nodes: Iterable[str] | Mapping[str, float]) -> Weights:
    """Node to weight, in the order given; a list gives each the weight 1.

    Raises `ConfigError`, its text beginning with `where`.
    """
    if isinstance(nodes, str | bytes) or not isinstance(nodes, Iterable):
        raise ConfigError(f"{where}: nodes: expected a list of names, found {nodes!r}")
    pairs = nodes.items() if isinstance(nodes, Mapping) else ((each, 1.0) for each in nodes)
    weights: Weights = {}
    for node, weight in pairs:
        _join(where, weights, node, weight)
    if not weights:
        raise ConfigError(f"{where}: nodes: expected at least one node, found none")
    return weights


def joined(where: str, weights: Weights, node: str, weight: float) -> Weights:
    """With one node more. Raises `ConfigError` when it is a member already."""
    more = dict(weights)
    _join(where, more, node, weight)
    return more


def left(where: str, weights: Weights, node: str) -> Weights:
    """Without one of the nodes. Raises `ConfigError` when it is no member, or the last one."""
    _known(where, weights, node)
    if len(weights) == 1:
        raise ConfigError(f"{where}: nodes: {node!r} is the last node and cannot leave")
    return {name: weight for name, weight in weights.items() if name != node}


def reweighted(where: str, weights: Weights, node: str, weight: float) -> Weights:
    """With another weight for one of the nodes. Raises `ConfigError` when it is no member."""
    _known(where, weights, node)
    return {**weights, node: _weight(where, node, weight)}


def seeded(where: str, seed: int) -> int:
    """The seed, if it is one. Raises `ConfigError`."""
    return counted(where, "seed", seed, 0, MOST_SEEDS - 1)


def counted(where: str, name: str, value: int, least: int, most: int) -> int:
    """A whole number within bounds. Raises `ConfigError`."""
    if type(value) is not int or not least <= value <= most:
        raise ConfigError(
            f"{where}: {name}: expected a whole number from {least} to {most}, found {value!r}"
        )
    return value


def whole(weights: Mapping[str, float]) -> dict[str, int]:
    """Whole numbers in exactly the same proportions, so that shares are computed exactly."""
    ratios = {node: weight.as_integer_ratio() for node, weight in weights.items()}
    common = max(under for _, under in ratios.values())  # all of them are powers of two
    return {node: over * (common // under) for node, (over, under) in ratios.items()}


def _join(where: str, weights: Weights, node: object, weight: object) -> None:
    if not isinstance(node, str) or not node or not _encodable(node):
        raise ConfigError(f"{where}: nodes: expected a name, found {node!r}")
    if node in weights:
        raise ConfigError(f"{where}: nodes: {node!r} is named twice")
    if len(weights) >= MOST_NODES:
        raise ConfigError(f"{where}: nodes: expected at most {MOST_NODES:,} nodes, found more")
    weights[node] = _weight(where, node, weight)


def _weight(where: str, node: str, weight: object) -> float:
    if isinstance(weight, int | float) and LIGHTEST <= weight <= HEAVIEST:
        return float(weight)
    raise ConfigError(
        f"{where}: weight of {node!r}: expected a number from {LIGHTEST} to {HEAVIEST:,.0f}, "
        f"found {weight!r}"
    )


def _known(where: str, weights: Weights, node: str) -> None:
    if node not in weights:
        raise ConfigError(f"{where}: nodes: there is no node {node!r}")


def _encodable(node: str) -> bool:
    try:
        node.encode()
    except UnicodeEncodeError:
        return False
    return True
