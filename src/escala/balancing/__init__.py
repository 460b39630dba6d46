"""Where a call goes: the targets of an upstream, how they are chosen, and whether they are well."""

from __future__ import annotations

from escala.balancing.balancer import Balancer
from escala.balancing.health_check import HealthCheck
from escala.balancing.least_connections import LeastConnections
from escala.balancing.round_robin import RoundRobin
from escala.balancing.target import Target
from escala.balancing.upstream import TargetChanged, Upstream

__all__ = [
    "Balancer",
    "HealthCheck",
    "LeastConnections",
    "RoundRobin",
    "Target",
    "TargetChanged",
    "Upstream",
]
