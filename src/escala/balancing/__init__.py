"""Where a call goes: the targets of an upstream, how they are chosen, and whether they are well."""

from __future__ import annotations

from escala.balancing.balancer import Balancer
from escala.balancing.consistent_hash import ConsistentHash
from escala.balancing.discovery import Discovery, Found
from escala.balancing.dns_targets import DnsTargets
from escala.balancing.events import (
    DiscoveryFailed,
    PanicChanged,
    TargetChanged,
    TargetEjected,
    TargetsChanged,
)
from escala.balancing.file_targets import FileTargets
from escala.balancing.health_check import HealthCheck
from escala.balancing.least_connections import LeastConnections
from escala.balancing.outlier_detection import OutlierDetection
from escala.balancing.peak_ewma import PeakEwma
from escala.balancing.power_of_two_choices import PowerOfTwoChoices
from escala.balancing.round_robin import RoundRobin
from escala.balancing.subset import Subset
from escala.balancing.target import Target
from escala.balancing.upstream import Upstream
from escala.balancing.weighted_round_robin import WeightedRoundRobin

__all__ = [
    "Balancer",
    "ConsistentHash",
    "Discovery",
    "DiscoveryFailed",
    "DnsTargets",
    "FileTargets",
    "Found",
    "HealthCheck",
    "LeastConnections",
    "OutlierDetection",
    "PanicChanged",
    "PeakEwma",
    "PowerOfTwoChoices",
    "RoundRobin",
    "Subset",
    "Target",
    "TargetChanged",
    "TargetEjected",
    "TargetsChanged",
    "Upstream",
    "WeightedRoundRobin",
]
