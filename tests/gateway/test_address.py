from __future__ import annotations

import re

import pytest

from escala.gateway.address import Address
from escala.kernel.wrong_value import WrongValue


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        ("[::1]:0", "::1", 0),
        ("Shop.Internal:65535", "shop.internal", 65535),
    ],
)
def test_has_a_host_and_a_port(text: str, host: str, port: int) -> None:
    address = Address(text)
    assert (address.host, address.port) == (host, port)
    assert Address(address.text) == address


def test_a_name_has_at_most_253_characters() -> None:
    longest = "a." * 126 + "a"
    assert Address(f"{longest}:1").host == longest
    with pytest.raises(WrongValue):
        Address(f"a{longest}:1")


def test_the_schema_takes_its_own_examples() -> None:
    schema = Address.schema()
    assert schema["type"] == "string"
    assert schema["examples"]
    for example in schema["examples"]:
        assert re.fullmatch(schema["pattern"], Address(example))
