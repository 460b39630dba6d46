"""Whose request it is, when it came through proxies: read from the right, as far as we trust."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network


class TrustedProxies:
    """The networks whose `X-Forwarded-For` is believed.

    Each proxy appends the address it saw, so the list is read from the right: the first address
    that is not one of ours is the client. Anything further left was written by the client
    itself, and is worth nothing.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks: tuple[Network, ...] = tuple(
            ip_network(text, strict=False) for text in networks
        )

    def __bool__(self) -> bool:
        """Whether anyone is trusted at all."""
        return bool(self._networks)

    def trusts(self, address: str) -> bool:
        """Whether this address is one of our proxies."""
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)

    def client(self, peer: str, forwarded_for: Sequence[str]) -> str:
        """The client's address, given the peer's and the values of `X-Forwarded-For` in order."""
        client = peer
        hops = [hop.strip() for value in forwarded_for for hop in value.split(",")]
        for hop in reversed(hops):
            if not self.trusts(client):
                break
            try:
                ip_address(hop)
            except ValueError:
                break  # garbage: what we have is the last thing that can be believed
            client = hop
        return client
