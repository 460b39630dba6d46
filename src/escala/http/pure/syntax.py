"""What a request must look like beyond the grammar that the parser checks.

llhttp refuses most of what smuggling is made of (bare LF, obs-fold, NUL, two lengths, a length
beside a coding). It leaves to its user what is here: RFC 9112 sections 3.2 and 6.
"""

from __future__ import annotations

import re

from escala.errors import Rejected

_HOST = re.compile(rb"(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]+)(?::[0-9]{1,5})?\Z")
_DOTS = re.compile(rb"(?:/|%2f|\\|%5c)(?:\.|%2e){1,2}(?:/|%2f|\\|%5c|;|\?|\Z)", re.IGNORECASE)
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_SLASHES = re.compile(rb"[/\\]+")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)", re.IGNORECASE)


class Refused(Rejected):
    """The message is not acceptable; `status` is what to answer before closing.

    A rejection like the policies' own: never retried, never counted against a target.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__("http", reason)
        self.status = status


def check_host(hosts: int, host: bytes) -> None:
    """Exactly one `Host`, with nothing in it but a name and a port."""
    if hosts != 1:
        raise Refused(400, "a request needs exactly one Host header")
    if not _HOST.match(host):
        raise Refused(400, "the Host header is not a host and port")


def origin_form(method: str, target: bytes, host: bytes) -> bytes:
    """The path and query of a target; an absolute form must name the same host.

    Dot segments are refused, plain or encoded, rather than resolved: a route that guards
    `/admin/` must not be passed by a path which only the target resolves.
    """
    if target[:1] != b"/":
        if target == b"*" and method == "OPTIONS":
            return target
        found = _ABSOLUTE.match(target)
        if found is None:
            raise Refused(400, "the request target is neither a path nor an absolute URL")
        if found.group(1).lower() != host.lower():
            raise Refused(400, "the request target names another host than the Host header")
        target = target[found.end() :]
        if target[:1] != b"/":
            target = b"/" + target
    if b"#" in target:
        raise Refused(400, "a request target has no fragment")
    if (b"/." in target or b"%" in target or b"\\" in target) and _DOTS.search(
        target.partition(b"?")[0]
    ):
        raise Refused(400, "the path has dot segments")
    return target


def canonical(path: bytes) -> bytes:
    """The path that routes are compared with, whatever way it was spelled.

    Escapes and doubled slashes are undone (RFC 3986 section 6.2.2.2), so that no other spelling
    passes a guarded route. An escaped slash counts as one: most services take it for that.
    """
    if b"%" in path:
        path = _ESCAPE.sub(lambda found: bytes((int(found.group(1), 16),)), path)
    return _SLASHES.sub(b"/", path) if b"//" in path or b"\\" in path else path


def check_coding(coding: bytes, version: str) -> None:
    """`Transfer-Encoding` is `chunked` or nothing, and only in HTTP/1.1."""
    if version != "1.1":
        raise Refused(400, "Transfer-Encoding needs HTTP/1.1")
    if coding.strip().lower() != b"chunked":
        raise Refused(501, "the only transfer coding supported is chunked")
