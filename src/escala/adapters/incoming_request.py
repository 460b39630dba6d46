"""A request that a server answers, as the policies around it know it."""

from __future__ import annotations

from collections.abc import Callable

from escala.adapters.outgoing_request import IDEMPOTENCY_KEY
from escala.http.message import IDEMPOTENT
from escala.kernel.context import Request


class IncomingRequest(Request):
    """What policies may ask of it: "client_ip", "method", "host", "path", "header:<name>".

    `client_ip` is the address that the connection came from. Behind a proxy that is the proxy's:
    let the server read `X-Forwarded-For`, or limit by a function.
    """

    def __init__(
        self,
        method: str,
        path: str,
        client: str,
        header: Callable[[str], str | None],
    ) -> None:
        idempotent = method in IDEMPOTENT or header(IDEMPOTENCY_KEY) is not None
        super().__init__(idempotent=idempotent)
        self.method, self.path, self.client, self.header = method, path, client, header

    def get(self, name: str) -> str | None:
        """Answer for the names above, and "key" and "tenant"."""
        if name == "client_ip":
            return self.client
        if name == "method":
            return self.method
        if name == "path":
            return self.path
        if name == "host":
            return self.header("host")
        if name.startswith("header:"):
            return self.header(name[7:])
        return super().get(name)

    @property
    def repeatable(self) -> bool:
        """Never: what a client has sent is read once."""
        return False
