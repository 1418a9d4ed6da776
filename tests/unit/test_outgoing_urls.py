"""Which addresses may be called: by the form of the URL, by the block of the address, and by the settings."""

import contextlib
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quittance.domain.errors import ForbiddenAddress
from quittance.providers.outgoing import LOOPBACK, URL_LENGTH_MAX, OutgoingRules, check_url, is_public
from quittance.server.outgoing import outgoing_rules
from quittance.server.settings import SettingsError, load_settings

STRICT = OutgoingRules()
AT_HOME = OutgoingRules(private_networks=(*LOOPBACK, ip_network("10.0.0.0/8")), plain_http=True)

PRIVATE_HOSTS = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "192.0.0.192",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "168.63.129.16",
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[fe80::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[fec0::1]",
    "[ff02::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:169.254.169.254]",
    "[::ffff:8.8.8.8]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::10.0.0.1]",
    "[64:ff9b:1::1]",
    "[2002:7f00:1::]",
    "[2001::1]",
    "[2001:db8::1]",
    "localhost",
    "LOCALHOST",
    "shop.localhost",
    "127。0。0。1",
]

ODD_HOSTS = [
    "2130706433",
    "017700000001",
    "0x7f000001",
    "0X7F000001",
    "127.1",
    "127.0.1",
    "0177.0.0.1",
    "0x7f.0.0.1",
    "127.0.0.0x1",
    "127.0.0.01",
    "256.0.0.1",
    "1.2.3.4.5",
    "8.8.8.8.",
    "127.0.0.1.",
    "localhost.",
    "example.com.",
    "example.com..",
    "localhost。",
    "１２７.0.0.1",  # noqa: RUF001 - fullwidth digits are the point
    "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
    "%31%32%37.0.0.1",
    "a..b",
    ".example.com",
    "-a.example",
    "a-.example",
    "ex ample.com",
    "ex*mple.com",
    "a" * 64 + ".example",
    ".".join(["a" * 60] * 5),
    "[::1",
    "[::1]x",
    "[fe80::1%25eth0]",
    "[fe80::1%eth0]",
    "[v1.a]",
    "\ud800.example",
    "",
]

PUBLIC_URLS = [
    "https://example.com",
    "https://EXAMPLE.com/Hook?token=1&x=%20",
    "HTTPS://example.com/",
    "https://example.com:443/",
    "https://example.com:80/",
    "https://example.com:8443/hooks",
    "https://example.com:65535/",
    "https://a_b.example.com/",
    "https://bücher.example/bücher?q=ü",
    "https://xn--bcher-kva.example/",
    "https://8.8.8.8/",
    "https://[2606:4700::1111]/",
    "https://[64:ff9b::808:808]/",
    "https://intranet/",
    "https://example.com/@handle",
]


@pytest.mark.parametrize("url", PUBLIC_URLS)
def test_an_address_on_the_internet_may_be_called(url: str) -> None:
    check_url(url, rules=STRICT)
    check_url(url, rules=AT_HOME)


@pytest.mark.parametrize("host", PRIVATE_HOSTS)
@pytest.mark.parametrize("port", ["", ":443", ":8080"])
def test_a_private_host_is_refused_however_it_is_written(host: str, port: str) -> None:
    with pytest.raises(ForbiddenAddress):
        check_url(f"https://{host}{port}/hook", rules=STRICT)


@pytest.mark.parametrize("rules", [STRICT, AT_HOME])
@pytest.mark.parametrize("host", ODD_HOSTS)
def test_a_host_in_an_odd_notation_is_refused_even_where_private_networks_are_allowed(
    host: str, rules: OutgoingRules
) -> None:
    with pytest.raises(ForbiddenAddress):
        check_url(f"https://{host}/hook", rules=rules)


@pytest.mark.parametrize("rules", [STRICT, AT_HOME])
@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "//example.com/",
        "https:example.com",
        "https:/example.com",
        "https:///hook",
        "https://",
        "https://:443/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "ws://example.com/",
        "javascript:alert(1)",
        "https://user@example.com/",
        "https://user:password@example.com/",
        "https://@example.com/",
        "https://:@example.com/",
        "https://example.com@127.0.0.1/",
        "https://127.0.0.1\\@example.com/",
        "https:\\\\example.com/",
        "https://example.com/#",
        "https://example.com/#part",
        "https://example.com#@127.0.0.1/",
        " https://example.com/",
        "https://example.com/ ",
        "https://example.com/a b",
        "https://example.com/\r\nhost: x",
        "https://exa\tmple.com/",
        "https://example.com/\x00",
        "https://example.com/\x7f",
        "https://example.com/\x85",
        "https://example.com/\u2028",
        "https://example.com/\u202e",
        "https://example.com/\ud800",
        "https://example.com:0/",
        "https://example.com:22/",
        "https://example.com:25/",
        "https://example.com:1023/",
        "https://example.com:6667/",
        "https://example.com:65536/",
        "https://example.com:99999999/",
        "https://example.com:-1/",
        "https://example.com:443:443/",
        "https://example.com:4e2/",
    ],
)
def test_a_url_of_another_form_is_refused(url: str, rules: OutgoingRules) -> None:
    with pytest.raises(ForbiddenAddress):
        check_url(url, rules=rules)


@pytest.mark.parametrize("rules", [STRICT, AT_HOME])
@pytest.mark.parametrize("host", ["example.com", "8.8.8.8", "[2606:4700::1111]"])
@pytest.mark.parametrize(
    "port",
    ["", "+443", "4_43", "４４３", "٤٤٣", "00443", "0443", "-443", "443.0", "0x1bb", "4e2", "443443"],  # noqa: RUF001 - other digits are the point
)
def test_a_port_is_written_in_digits_alone(port: str, host: str, rules: OutgoingRules) -> None:
    for path in ("", "/hook", "?token=1"):
        with pytest.raises(ForbiddenAddress) as caught:
            check_url(f"https://{host}:{port}{path}", rules=rules)

        assert (
            caught.value.message == "the address has a port that is no plain number; leave the port out, with its colon"
        )


def test_a_url_has_2048_characters_at_most() -> None:
    longest = "https://example.com/".ljust(URL_LENGTH_MAX, "a")

    check_url(longest, rules=STRICT)

    with pytest.raises(ForbiddenAddress, match=r"^the address has more than 2048 characters; shorten it$"):
        check_url(longest + "a", rules=STRICT)


@pytest.mark.parametrize("url", ["http://example.com/", "http://8.8.8.8/", "http://127.0.0.1/", "http://localhost/"])
def test_plain_http_is_refused_unless_the_rules_allow_it(url: str) -> None:
    with pytest.raises(ForbiddenAddress, match="must begin with https://"):
        check_url(url, rules=STRICT)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "[::1]", "10.1.2.3", "localhost", "shop.localhost"])
def test_an_allowed_network_may_be_called_with_and_without_tls(scheme: str, host: str) -> None:
    check_url(f"{scheme}://{host}:8080/hook", rules=AT_HOME)


@pytest.mark.parametrize(
    "host", ["8.8.8.8", "[2606:4700::1111]", "192.168.1.1", "[::ffff:127.0.0.1]", "169.254.169.254"]
)
def test_plain_http_stays_inside_the_allowed_networks(host: str) -> None:
    with pytest.raises(ForbiddenAddress, match="must begin with https://"):
        check_url(f"http://{host}/", rules=AT_HOME)


def test_one_allowed_network_opens_neither_its_neighbours_nor_this_machine() -> None:
    rules = OutgoingRules(private_networks=(ip_network("10.1.0.0/16"),), plain_http=True)

    check_url("https://10.1.255.255/", rules=rules)

    for host in ("10.2.0.0", "10.0.255.255", "127.0.0.1", "localhost", "[::ffff:10.1.0.1]"):
        with pytest.raises(ForbiddenAddress, match="give a host that the internet can reach"):
            check_url(f"https://{host}/", rules=rules)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("https://example.com./", "the address has a host that ends in a dot; leave the dot out"),
        ("https://2130706433/", "the address has a host in an unusual notation of numbers; write its name"),
        ("https://u:p@example.com/", "the address holds a user name or password; leave out everything up to @"),
        ("https://localhost/", "the address leads to this machine; give a host that the internet can reach"),
        ("https://example.com:22/", "the address uses the port 22, which belongs to another service; use 443"),
        ("https://example.com:6667/", "the address uses the port 6667, which is not called; use 443"),
        ("http://example.com/", "the address must begin with https://; calls without TLS are not made"),
        ("https:///", "the address names no host; write it as https://host/path"),
    ],
)
def test_a_refusal_says_what_to_change(url: str, sentence: str) -> None:
    with pytest.raises(ForbiddenAddress) as caught:
        check_url(url, rules=STRICT)

    assert caught.value.message == sentence


def test_the_error_tells_what_to_do_and_neither_retries_nor_repeats_the_url() -> None:
    with pytest.raises(ForbiddenAddress) as caught:
        check_url("https://10.0.0.1/?token=hush", rules=STRICT)

    error = caught.value
    assert (error.code, error.retryable) == ("FORBIDDEN_ADDRESS", False)
    assert error.message == "the address leads into a private network; give a host that the internet can reach"


@given(st.ip_addresses())
@example(ip_address("224.0.0.1"))
@example(ip_address("192.88.99.1"))
@example(ip_address("2002:7f00:1::"))
@example(ip_address("::ffff:8.8.8.8"))
@example(ip_address("64:ff9b::a00:1"))
@example(ip_address("fe80::1%eth0"))
def test_no_address_that_is_not_global_unicast_is_public(address: IPv4Address | IPv6Address) -> None:
    if not is_public(address):
        return

    assert address.is_global
    assert not any((address.is_private, address.is_loopback, address.is_link_local))
    assert not any((address.is_multicast, address.is_unspecified))
    if isinstance(address, IPv6Address):
        assert address.ipv4_mapped is None
        assert address.sixtofour is None
        assert address.teredo is None


@given(st.ip_addresses(v=4), st.sampled_from(["::ffff:0:0", "::", "64:ff9b::", "64:ff9b:1::"]))
def test_an_ipv4_address_inside_ipv6_is_never_more_public_than_itself(address: IPv4Address, block: str) -> None:
    wrapped = IPv6Address(int(IPv6Address(block)) | int(address))

    assert is_public(wrapped) == (block == "64:ff9b::" and is_public(address))


@given(st.ip_addresses(), st.sampled_from(["http", "https"]))
def test_no_url_with_an_address_passes_that_is_not_public(address: IPv4Address | IPv6Address, scheme: str) -> None:
    host = f"[{address}]" if isinstance(address, IPv6Address) else str(address)
    passes = True

    try:
        check_url(f"{scheme}://{host}/hook", rules=STRICT)
    except ForbiddenAddress:
        passes = False

    assert passes == (scheme == "https" and is_public(address))


NUMBERS = st.one_of(
    st.integers(0, 2**32 - 1).map(str),
    st.integers(0, 2**32 - 1).map(hex),
    st.integers(0, 2**32 - 1).map(lambda number: f"0{number:o}"),
)


@given(st.lists(NUMBERS, min_size=1, max_size=4))
def test_no_notation_of_numbers_passes_but_the_usual_one(parts: list[str]) -> None:
    host = ".".join(parts)
    try:
        usual = is_public(IPv4Address(host))
    except ValueError:
        usual = False
    passes = True

    try:
        check_url(f"https://{host}/", rules=STRICT)
    except ForbiddenAddress:
        passes = False

    assert passes == usual


@given(
    st.text(max_size=80), st.sampled_from(["", "https://", "http://", "https://[", "https://example.com", "https://a:"])
)
def test_whatever_a_stranger_writes_is_accepted_or_refused_but_never_crashes(text: str, head: str) -> None:
    for rules in (STRICT, AT_HOME):
        with contextlib.suppress(ForbiddenAddress):
            check_url(head + text, rules=rules)


def test_the_settings_allow_no_private_network_unless_told() -> None:
    rules = outgoing_rules(load_settings(sandbox=False))

    assert rules == OutgoingRules()
    assert (rules.connect_timeout_s, rules.timeout_s, rules.answer_bytes_max) == (5.0, 15.0, 65_536)


def test_the_sandbox_may_call_this_machine_without_tls() -> None:
    rules = outgoing_rules(load_settings(sandbox=True))

    check_url("http://127.0.0.1:3000/hook", rules=rules)
    check_url("http://[::1]:3000/hook", rules=rules)
    assert rules.private_networks == LOOPBACK
    with pytest.raises(ForbiddenAddress):
        check_url("https://10.0.0.1/", rules=rules)


def test_the_settings_name_networks_and_limits() -> None:
    rules = outgoing_rules(
        load_settings(
            sandbox=False,
            outgoing_private_networks="10.0.0.0/8, fd00::/8",
            outgoing_timeout_s=2,
            outgoing_answer_bytes_max=1_000,
        )
    )

    assert rules == OutgoingRules(
        private_networks=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")),
        plain_http=True,
        connect_timeout_s=2.0,
        timeout_s=2.0,
        answer_bytes_max=1_000,
    )


@pytest.mark.parametrize("networks", ["10.0.0.1/8", "example.com", "10.0.0.0/33", "10.0.0.0/8,,x"])
def test_a_network_that_is_none_stops_the_start_with_its_name(networks: str) -> None:
    with pytest.raises(SettingsError, match=r"^QUITTANCE_OUTGOING_PRIVATE_NETWORKS: "):
        load_settings(outgoing_private_networks=networks)
