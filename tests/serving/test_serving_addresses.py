"""Which addresses are one client, and which are this machine's own."""

from __future__ import annotations

import pytest

from topwork.serving.http.addresses import client_of, is_own


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:0:1::7", "2001:db8:0:1::/64"),
        ("2001:db8:0:1:ffff::", "2001:db8:0:1::/64"),
        ("fe80::7%eth0", "fe80::/64"),
        ("", ""),
        ("a socket", "a socket"),
    ],
)
def test_a_client_is_an_address_or_a_subnet_of_ipv6(address: str, client: str) -> None:
    assert client_of(address) == client


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_this_machines_own_addresses(address: str) -> None:
    assert is_own(address)


@pytest.mark.parametrize("address", ["0.0.0.0", "192.0.2.7", "::", "2001:db8::1", "localhost", ""])
def test_what_is_none_of_them(address: str) -> None:
    assert not is_own(address)
