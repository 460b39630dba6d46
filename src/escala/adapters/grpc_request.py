"""A remote procedure call, as the policies around it know it, on either side."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from escala.adapters.pure.grpc_words import service
from escala.kernel.context import Request, current


class GrpcRequest(Request):
    """What policies may ask of it.

    `key` is the service ("shop.Tea"), "method" the whole name ("/shop.Tea/Brew"),
    "header:<name>" a value of the metadata, and on a server "client_ip" where it came from.
    Priority and tenant are those of the request that is being served meanwhile.
    """

    def __init__(
        self,
        method: str | bytes,
        metadata: Iterable[Any] | None,
        *,
        idempotent: bool,
        repeatable: bool,
        client: str | None = None,
    ) -> None:
        self.method = method.decode() if isinstance(method, bytes) else method
        serving = current.get()
        super().__init__(
            key=service(self.method),
            idempotent=idempotent,
            priority=0 if serving is None else serving.priority,
            tenant=None if serving is None else serving.tenant,
        )
        self._metadata, self._repeatable, self._client = metadata or (), repeatable, client

    def get(self, name: str) -> str | None:
        """Answer for the names above, and for "tenant"."""
        if name == "method":
            return self.method
        if name == "client_ip":
            return self._client
        if name.startswith("header:"):
            for have, value in self._metadata:
                if have == name[7:].lower():
                    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
            return None
        return super().get(name)

    @property
    def repeatable(self) -> bool:
        """Whether what is sent can be sent again; a stream cannot."""
        return self._repeatable
