"""`upstreams.<name>` of `stack.yaml`: a service, and how calls are spread over its instances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from escala.balancing import (
    DnsTargets,
    FileTargets,
    HealthCheck,
    OutlierDetection,
    Subset,
    Target,
    Upstream,
)
from escala.balancing.dns_targets import DnsOptions
from escala.balancing.file_targets import FileOptions
from escala.balancing.health_check import HealthOptions
from escala.balancing.outlier_detection import OutlierOptions
from escala.balancing.panic import Panic
from escala.balancing.subset import SubsetOptions
from escala.balancing.target import TargetOptions
from escala.gateway.balancer_entry import BalancerEntry
from escala.gateway.hash_key import HashKey
from escala.kernel.units import PositiveDuration

Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Listed = Annotated[tuple[TargetOptions, ...], Meta(min_length=1, max_length=1000)]


class ConnectionsConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The pool of connections to each target."""

    max_connections: Count = 256
    """Connections to one target, of one worker."""
    idle_timeout: PositiveDuration = PositiveDuration("60s")
    """How long an unused connection is kept."""


class DiscoveryConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the targets are looked for while the gateway runs: one of these."""

    file: FileOptions | None = None
    """A file with a target a line, or with a YAML list."""
    dns: DnsOptions | None = None
    """A name that has addresses, or SRV records."""

    def __post_init__(self) -> None:
        """Refuse both, and neither."""
        if (self.file is None) == (self.dns is None):
            raise ValueError("expected either 'file' or 'dns'")

    def build(self) -> FileTargets | DnsTargets:
        """Make the discovery; it looks at nothing yet."""
        if self.file is not None:
            return FileTargets(**_fields(self.file))
        return DnsTargets(**_fields(self.dns))


class UpstreamConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A service: its instances and how calls are spread over them."""

    targets: Listed | None = None
    """The instances, unless a discovery finds them."""
    discovery: DiscoveryConfig | None = None
    """Where instances are looked for, in place of `targets`."""
    balance: BalancerEntry = BalancerEntry("round_robin")
    """The algorithm that chooses a target for each attempt."""
    hash_on: HashKey | None = None
    """What a request is about, for `consistent_hash`: `client_ip`, `header:x-user`, ..."""
    health: HealthOptions | None = None
    """Active health checks; without them every target is taken to be well."""
    outliers: OutlierOptions | None = None
    """Passive checks: targets that answer worse than the others are left out for a while."""
    panic: Panic = Panic(False)  # noqa: FBT003  as it is written
    """Below which healthy share all targets are picked; true: only when none is healthy."""
    zone: str = ""
    """Where the gateway runs, so that calls stay near it."""
    slow_start: PositiveDuration | None = None
    """How long a target that came, or came back, has less than its weight."""
    subset: SubsetOptions | None = None
    """The part of a large fleet that this gateway uses."""
    connections: ConnectionsConfig = ConnectionsConfig()
    """Limits of the connection pools."""
    connect_timeout: PositiveDuration = PositiveDuration("2s")
    """How long a new connection may take."""

    def build(self, name: str) -> Upstream:
        """Make the upstream; it opens nothing yet."""
        return Upstream(
            name,
            [Target(**_fields(target)) for target in self.targets or ()]
            if self.discovery is None
            else self.discovery.build(),
            balance=self.balance.build(),
            health=None if self.health is None else HealthCheck(**_fields(self.health)),
            outliers=None if self.outliers is None else OutlierDetection(**_fields(self.outliers)),
            panic=self.panic,
            zone=self.zone,
            slow_start=self.slow_start,
            subset=None if self.subset is None else Subset(**_fields(self.subset)),
        )


def _fields(options: Any) -> Mapping[str, Any]:  # noqa: ANN401  any struct
    return msgspec.structs.asdict(options)
