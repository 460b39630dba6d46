"""What an adapter is given as its policy, checked when it is made and not at the first request."""

from __future__ import annotations

from escala.errors import ConfigError
from escala.kernel.policy import Policy
from escala.kernel.stack import Stack


def policies(policy: Policy, *, where: str) -> tuple[Policy, ...]:
    """The policies of a stack, or the one that it is; `ConfigError` for what is none."""
    given = tuple(policy.flat()) if isinstance(policy, Stack) else (policy,)
    for each in given:
        if not isinstance(each, Policy):
            raise ConfigError(f"{where}: policy: expected a policy, found {each!r}")
    return given
