"""S2: the header of a stranger is never the key of a rate limit."""

import pytest

from quittance.server.http.addresses import client_address_behind, peer_address

PROXIES = frozenset({"10.0.0.1", "10.0.0.2", "fd00::1"})


@pytest.mark.parametrize(
    ("peer", "forwarded", "counted"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.7"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1", ["6.6.6.6", "198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["2001:db8::7"], "2001:db8::/64"),
        ("2001:db8:1:2:3:4:5:6", [], "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", [], "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", [], "2001:db8:1:3::/64"),
        ("::1", [], "::/64"),
        ("fe80::1%eth0", [], "fe80::/64"),
        ("::ffff:203.0.113.9", [], "203.0.113.9"),
        ("::ffff:203.0.113.10", [], "203.0.113.10"),
        ("fd00::1", ["198.51.100.7"], "198.51.100.7"),
        ("fd00::1", ["198.51.100.7, fd00::2"], "fd00::/64"),
        ("", [], ""),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7, nonsense"], "10.0.0.1"),
    ],
)
def test_only_a_trusted_proxy_is_believed(peer: str, forwarded: list[str], counted: str) -> None:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    scope = {"type": "http", "client": (peer, 1), "headers": headers}

    assert client_address_behind(PROXIES)(scope) == counted


def test_without_proxies_an_ipv6_peer_is_counted_by_its_network() -> None:
    told = [peer_address({"type": "http", "client": (peer, 1)}) for peer in ("2001:db8::1", "2001:db8::2", "192.0.2.1")]

    assert told == ["2001:db8::/64", "2001:db8::/64", "192.0.2.1"]
    assert peer_address({"type": "http", "client": None}) == ""
