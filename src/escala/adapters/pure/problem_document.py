"""Why there is no better answer, for programs and people: `application/problem+json`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from http import HTTPStatus

CONTENT_TYPE = "application/problem+json"

_QUOTA = "https://iana.org/assignments/http-problem-types#quota-exceeded"


def problem(status: int, detail: str, *, violated: Sequence[str] = ()) -> bytes:
    """The document of RFC 9457. `violated` names the quota policies that refused.

    Those make it the problem type that the draft of the RateLimit fields registers.
    """
    document: dict[str, object] = {"title": HTTPStatus(status).phrase}
    if violated:
        document = {
            "type": _QUOTA,
            "title": "Request cannot be satisfied as assigned quota has been exceeded",
        }
    document |= {"status": status, "detail": detail}
    if violated:
        document["violated-policies"] = list(violated)
    return json.dumps(document, separators=(",", ":")).encode()
