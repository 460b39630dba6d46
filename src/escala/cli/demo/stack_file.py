"""Turn the shop's stack files into ones for this run: free ports, this run's instances."""

from __future__ import annotations

from pathlib import Path

import yaml

from escala.cli.demo.http_client import LOOPBACK
from escala.errors import ConfigError


def write(
    source: Path, target: Path, *, listen: int, admin: int, targets: list[int], workers: int
) -> frozenset[str]:
    """Write `source` to `target` with these ports; returns the names of its policies."""
    try:
        stack = yaml.safe_load(source.read_text())
    except OSError as error:
        raise ConfigError(f"{source}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: not YAML: {error}") from error
    if not isinstance(stack, dict) or not isinstance(stack.get("upstreams"), dict):
        raise ConfigError(f"{source}: expected a stack with upstreams")
    stack |= {
        "listen": f"{LOOPBACK}:{listen}",
        "admin": f"{LOOPBACK}:{admin}",
        "workers": workers,
    }
    for upstream in stack["upstreams"].values():
        upstream["targets"] = [f"{LOOPBACK}:{port}" for port in targets]
    target.write_text(yaml.safe_dump(stack, sort_keys=False))
    entries = (entry for route in stack.get("routes", ()) for entry in route.get("policies", ()))
    return frozenset(name for entry in entries for name in entry)
