"""What Redis says instead of doing what it was asked, and what to do about it."""

from __future__ import annotations

from ssl import SSLCertVerificationError, SSLError

_ADVICE = {
    "WRONGPASS": "see the user and the password in the URL",
    "NOAUTH": "it wants a login: write it in the URL, as in redis://user:password@host",
    "NOPERM": "allow this user to run scripts and to use the keys esc:* and escala:*",
    "READONLY": "it is a replica: write the primary in the URL",
    "ERR DB index": "it has no such database: see the number at the end of the URL",
    "ERR AUTH": "see the login in the URL",
    "ERR invalid password": "see the password in the URL",
    "ERR Client sent AUTH": "it wants no login: take it out of the URL",
    "ERR max number of clients": "raise its maxclients",
}


class RedisRefusal(ConnectionRefusedError):
    """Redis is reachable, and does not want this connection: the login or the database is wrong."""


def advice(said: str) -> str:
    """What to do about an error of the server, as the end of a sentence; often nothing."""
    for beginning, what in _ADVICE.items():
        if said.startswith(beginning):
            return f": {what}"
    return ""


def remedy(error: OSError) -> str:
    """What to do about a connection that there is not, or no more."""
    if isinstance(error, SSLCertVerificationError):
        return "ssl_ca_certs in the URL names the file of the authority that signs for it"
    if isinstance(error, SSLError):
        return "see whether it speaks TLS, and wants a certificate of its clients (ssl_certfile)"
    return "see whether it is up and reachable"
