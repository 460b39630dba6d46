"""Targets from DNS: every address of a name, or what its SRV records say."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Self

import msgspec

from escala.balancing.discovery import Discovery, Found
from escala.balancing.dns_resolver import DnsResolver, Resolver
from escala.balancing.target import TargetOptions
from escala.balancing.target_url import TargetUrl
from escala.errors import Unavailable
from escala.kernel.config import options
from escala.kernel.scalar import Scalar
from escala.kernel.units import PositiveDuration
from escala.kernel.wrong_value import WrongValue

_SRV = r"_[A-Za-z0-9-]{1,62}\._tcp\.[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,180}[A-Za-z0-9_])?"
_NAMED = r"(?:https?://)?[^\[\]/@\s]+"


class DnsName(Scalar, str):
    """A name to resolve: `shop.internal:8080` for its addresses, `_http._tcp.shop` for SRV."""

    __slots__ = ()
    expected: ClassVar[str] = "a name such as 'shop.internal:8080' or '_http._tcp.shop.internal'"

    def __new__(cls, value: object) -> Self:
        """Read a name; `WrongValue` if it is none."""
        text = value if isinstance(value, str) else ""
        if not re.fullmatch(_SRV, text):
            try:
                url = TargetUrl(text)
            except WrongValue:
                raise WrongValue(cls.expected, value) from None
            if not re.search("[a-z]", url.host) or ":" in url.host:
                raise WrongValue(cls.expected, value)  # a number needs no DNS
            text = url.text
        return str.__new__(cls, text)

    @property
    def text(self) -> str:
        """The full spelling."""
        return str(self)

    @property
    def srv(self) -> bool:
        """Whether its SRV records are meant."""
        return self.startswith("_")

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """Text; the rest is checked when it is read."""
        examples = ["shop.internal:8080", "_http._tcp.shop.internal"]
        return {"type": "string", "pattern": f"^(?:{_SRV}|{_NAMED})$", "examples": examples}


class DnsOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `discovery: {dns: ...}` may say in `stack.yaml`."""

    shorthand: ClassVar[str] = "name"

    name: DnsName
    """A name and a port, for its A (or AAAA) records; or the name of SRV records."""
    interval: PositiveDuration = PositiveDuration("1s")
    """How often to ask at most; less often where the records hold longer (their TTL)."""


class DnsTargets(Discovery):
    """The targets that DNS knows: `DnsTargets("shop.internal:8080")`.

    - A name with a port stands for all its A records, or its AAAA records if it has no other.
    - A name like `_http._tcp.shop.internal` stands for its SRV records, which say host, port,
      weight and priority of each target (RFC 2782; weight 0 is taken as 1).
    - It asks again when the records' time to live is over, and no more often than `interval`.
      An error, no answer and an empty one are told as an event and change nothing.

    `resolver` replaces DNS by any coroutine function like `DnsResolver`'s call. Raises
    `ConfigError`, also when dnspython (extra `dns`) is needed and missing.
    """

    Options: ClassVar[type[DnsOptions]] = DnsOptions

    def __init__(
        self, name: str, *, interval: float | str = 1.0, resolver: Resolver | None = None
    ) -> None:
        self.options = options(DnsOptions, {"name": name, "interval": interval}, where="DnsTargets")
        self._resolve: Resolver = resolver or DnsResolver()

    def __repr__(self) -> str:
        return f"DnsTargets({str(self.options.name)!r})"

    async def look(self) -> Found:
        """Ask. Raises `Unavailable` for an empty answer, and what the resolver raises."""
        name = self.options.name
        if name.srv:
            records = await self._resolve(name, "SRV")
            services = (each for text in records.texts if (each := _service(text)) is not None)
            first = {each.url: each for each in sorted(services, key=_last_resort_first)}
            targets = list(first.values())
        else:
            url = TargetUrl(name)
            records = await self._resolve(url.host, "A")
            if not records.texts:
                records = await self._resolve(url.host, "AAAA")
            scheme = "https" if url.secure else "http"
            hosts = (f"[{text}]" if ":" in text else text for text in records.texts)
            targets = [
                TargetOptions(url=TargetUrl(f"{scheme}://{host}:{url.port}")) for host in hosts
            ]
        if not targets:
            raise Unavailable(f"DNS has no targets for {name}")
        return Found(targets, max(records.seconds, self.options.interval))


def _last_resort_first(target: TargetOptions) -> tuple[int, str]:
    return -target.priority, target.url


def _service(text: str) -> TargetOptions | None:
    """An SRV record; None for the one that says that there is no such service."""
    priority, weight, port, host = text.split()
    if host == ".":
        return None
    url = TargetUrl(f"{host.rstrip('.')}:{port}")
    return TargetOptions(url=url, weight=max(int(weight), 1), priority=int(priority))
