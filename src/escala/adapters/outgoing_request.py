"""A request that a client sends, as the policies around it know it."""

from __future__ import annotations

from collections.abc import Callable

from escala.http.message import IDEMPOTENT
from escala.kernel.context import Request, current

IDEMPOTENCY_KEY = "Idempotency-Key"


class OutgoingRequest(Request):
    """What policies may ask of it: `key` and "host" are the host, "method", "header:<name>".

    It is idempotent by its HTTP method, or when it carries an `Idempotency-Key`. Priority and
    tenant are those of the request that is being served meanwhile.
    """

    def __init__(
        self,
        method: str,
        host: str,
        header: Callable[[str], str | None],
        *,
        repeatable: bool,
    ) -> None:
        method = method.upper()
        idempotent = method in IDEMPOTENT or header(IDEMPOTENCY_KEY) is not None
        serving = current.get()
        super().__init__(
            key=host,
            idempotent=idempotent,
            priority=0 if serving is None else serving.priority,
            tenant=None if serving is None else serving.tenant,
        )
        self.method, self._header, self._repeatable = method, header, repeatable

    def get(self, name: str) -> str | None:
        """Answer for "host", "method", "header:<name>", "key" and "tenant"."""
        if name == "host":
            return self.key
        if name == "method":
            return self.method
        if name.startswith("header:"):
            return self._header(name[7:])
        return super().get(name)

    @property
    def repeatable(self) -> bool:
        """Whether the body can be sent again; one that is a stream cannot."""
        return self._repeatable
