"""Finds what other packages bring along: policies, balancers and stores by their short names.

Everything comes through entry points, Escala's own parts too, so a plugin needs no more than a
line in its `pyproject.toml`:

    [project.entry-points."escala.policies"]
    shadow = "my_package.shadow:Shadow"

Nothing is imported before it is asked for.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from escala.errors import ConfigError
from escala.kernel.wrong_value import not_among

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from escala.kernel.policy import Policy

POLICIES = "escala.policies"


def names(group: str) -> tuple[str, ...]:
    """All names that installed packages provide in this group, in alphabetical order."""
    return tuple(sorted({point.name for point in _points(group)}))


@cache  # only what loads is kept, and there are as many as entry points
def load(group: str, name: str) -> Any:  # noqa: ANN401  whatever the entry point names
    """The object that provides this name, imported at the first call.

    Raises `ConfigError` when no package provides it, when several do, and when the providing
    package fails to import; the latter two name the packages.
    """
    # One distribution found twice on the path (a source tree and its wheel) is one provider.
    found = {(point.value, _provider(point)): point for point in _named(group, name)}
    if not found:
        raise ConfigError(not_among(_noun(group), names(group), name))
    if len(found) > 1:
        providers = " and ".join(sorted(f"{provider} ({value})" for value, provider in found))
        raise ConfigError(
            f"expected one provider of {_noun(group)} named {name!r}, found {providers}; "
            "uninstall all but one"
        )
    ((value, provider), point) = found.popitem()
    try:
        return point.load()
    except Exception as error:
        raise ConfigError(
            f"{provider} provides {name!r} in {group} as {value}, which cannot be imported: "
            f"{type(error).__name__}: {error}"
        ) from error


def policy(name: str) -> type[Policy]:
    """The policy class of this `stack.yaml` name. Raises `ConfigError`, as `load` does."""
    from escala.kernel.policy import Policy

    found = load(POLICIES, name)
    if not isinstance(found, type) or not issubclass(found, Policy):
        provider = " and ".join(_provider(point) for point in _named(POLICIES, name))
        raise ConfigError(f"{provider} provides {name!r}, which is no policy class: {found!r}")
    return found


def policies() -> dict[str, type[Policy]]:
    """Every installed policy class by its `stack.yaml` name; imports all of them."""
    return {name: policy(name) for name in names(POLICIES)}


def forget() -> None:
    """Look again at what is installed, for programs that install packages as they run."""
    _points.cache_clear()
    load.cache_clear()


@cache  # looking means reading the metadata of every installed package
def _points(group: str) -> tuple[EntryPoint, ...]:
    from importlib.metadata import entry_points  # slow to import, and not everyone reads config

    return tuple(entry_points(group=group))


def _named(group: str, name: str) -> list[EntryPoint]:
    return [point for point in _points(group) if point.name == name]


def _provider(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"


def _noun(group: str) -> str:
    return group.rpartition(".")[2]
