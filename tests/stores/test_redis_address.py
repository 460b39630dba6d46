"""What a Redis URL may say, and that nothing in it is quietly dropped or read as something else."""

from __future__ import annotations

import pytest

from escala import CircuitBreaker, TokenBucket
from escala.errors import ConfigError
from escala.stores.redis_address import RedisAddress

KNOWN = "client_name, db, password, timeout, username"
ONCE = "expected it once, found it twice"
DB = "db: expected a whole number from 0 to 2147483647, found"
IN_A_PASSWORD = "write '/' as %2F, '#' as %23 and '@' as %40 where a password holds them"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://h/0?nodes=0", f"expected one of the parameters {KNOWN}; found 'nodes'"),
        ("redis://h?lease=nan", f"expected one of the parameters {KNOWN}; found 'lease'"),
        ("redis://h?protocol=3", f"expected one of the parameters {KNOWN}; found 'protocol'"),
        ("unix:///s?timout=1s", "found 'timout' (did you mean 'timeout'?)"),
        ("redis://h?hunter", f"{KNOWN}; found 'hunter'"),
        ("rediss://h?ssl_ca=x", "ssl_ca_certs, "),
        ("redis://h?timeout=1s&timeout=2s", f"timeout: {ONCE}"),
        ("redis://h?db=1&d%62=1", f"db: {ONCE}"),
        ("redis://h/1?db=1", f"db: {ONCE}"),
        ("redis://u:p@h?username=u", f"username: {ONCE}"),
        ("redis://:p@h?password=p", f"password: {ONCE}"),
        ("redis://h/abc", f"{DB} 'abc'"),
        ("redis://h/1/2", f"{DB} '1/2'"),
        ("redis://h/-1", f"{DB} '-1'"),
        ("redis://h/2147483648", f"{DB} '2147483648'"),
        ("redis://h?db=%C2%B2", f"{DB} '\N{SUPERSCRIPT TWO}'"),
        ("redis://h?db=1.0", f"{DB} '1.0'"),
        ("redis://h?db=", "db: expected a value, found none"),
        ("redis://h?client_name", "client_name: expected a value, found none"),
        ("redis://u@h", "username: expected a password with it, found none"),
        ("redis://h?username=u", "username: expected a password with it, found none"),
        ("redis://h?ssl_cert_reqs=none", "ssl_cert_reqs: expected rediss:// or valkeys://, found"),
        ("valkey://h?ssl_ca_certs=a", "ssl_ca_certs: expected rediss:// or valkeys://, found a"),
        ("rediss://h?ssl_check_hostname=maybe", "ssl_check_hostname: expected true or false, fo"),
        ("rediss://h?ssl_ca_certs=/no/such", "refuses (FileNotFoundError): see ssl_ca_certs"),
        ("rediss://h?ssl_min_version=old", "refuses (ValueError): see ssl_min_version"),
        ("redis://:hun?ter@h", f"parameters among {KNOWN}; found another, and an '@': write '?'"),
        ("redis://u:hunter#x@h", f"found 'redis://***@h': {IN_A_PASSWORD}"),
        ("redis://:12/hunter@h", f"found 'redis://***@h': {IN_A_PASSWORD}"),
        ("unix://", "expected a socket such as 'unix:///run/redis.sock', found 'unix://'"),
        ("unix://run/s", "expected a socket such as 'unix:///run/redis.sock', found 'unix://run"),
        ("redis://h:99999", "which the driver refuses (ValueError)"),
    ],
)
def test_what_no_one_reads_is_refused(url: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        CircuitBreaker(store=url)
    assert str(caught.value).startswith("CircuitBreaker: store: ")
    assert said in str(caught.value)
    assert "ter@" not in str(caught.value), "the end of a password"


@pytest.mark.parametrize(
    ("url", "where", "greetings"),
    [
        ("redis://", "Redis at localhost:6379", 0),
        ("redis://h:1/", "Redis at h:1", 0),
        ("redis://h/3/", "Redis at h:6379", 1),
        ("redis://u:p@h/3?client_name=n", "Redis at h:6379", 3),
        ("redis://h?username=u&password=p&db=0", "Redis at h:6379", 1),
        ("redis://[::1]:7/2147483647", "Redis at ::1:7", 1),
        ("valkey://:p@h/1", "Valkey at h:6379", 2),
        ("unix:///run/s?db=2&timeout=1s", "Redis at /run/s", 1),
        ("unix://u:p@/run/s", "Redis at /run/s", 1),
    ],
)
def test_what_it_reads(url: str, where: str, greetings: int) -> None:
    address = RedisAddress(url)
    assert (address.where, address.greetings, address.tls) == (where, greetings, None)


@pytest.mark.parametrize("scheme", ["rediss", "valkeys"])
def test_tls_is_verified_unless_the_url_says_otherwise(scheme: str) -> None:
    strict = RedisAddress(f"{scheme}://h").tls
    assert strict is not None
    assert (strict.check_hostname, strict.verify_mode.name) == (True, "CERT_REQUIRED")
    lax = RedisAddress(f"{scheme}://h?ssl_cert_reqs=none").tls
    assert lax is not None
    assert (lax.check_hostname, lax.verify_mode.name) == (False, "CERT_NONE")
    nameless = RedisAddress(f"{scheme}://h?ssl_check_hostname=No").tls
    assert nameless is not None
    assert (nameless.check_hostname, nameless.verify_mode.name) == (False, "CERT_REQUIRED")


def test_a_limiter_and_a_breaker_open_valkey_as_they_do_redis() -> None:
    limiter = TokenBucket("1/s", store="valkey://127.0.0.1:1/3?nodes=2")
    breaker = CircuitBreaker(store="valkey://127.0.0.1:1/3?timeout=10ms")
    assert limiter.acquire().away
    assert breaker.call(len, "tea") == 3
    assert breaker.snapshot()["store_away"] == 1.0
    limiter.close()
    breaker.close()
