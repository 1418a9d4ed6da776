"""The one door for calls to addresses that users give: each is checked, and what was checked is what is called."""

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, Self

import httpcore
import httpx

from quittance.domain.errors import ForbiddenAddress
from quittance.providers.base import OutgoingAnswer, OutgoingFailed
from quittance.providers.outgoing_names import NameResolver
from quittance.providers.outgoing_sockets import CheckedBackend

Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

URL_LENGTH_MAX: Final = 2_048
EXCERPT_S: Final = 2.0  # what a receiver of a message says beside its status is for people, and holds up nobody
LOOPBACK: Final[tuple[Network, ...]] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
EVERYWHERE: Final[tuple[Network, ...]] = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))

_THIS_MACHINE: Final = (IPv4Address("127.0.0.1"), IPv6Address("::1"))
_DEFAULT_PORTS: Final[Mapping[str, int]] = {"https": 443, "http": 80}
_UNRESERVED_PORT_MIN: Final = 1_024
# Above 1,023, ports whose services can be fooled by an HTTP request: the list that browsers refuse.
_REFUSED_PORTS: Final = frozenset(
    {1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, *range(6665, 6670), 6679, 6697, 10080}
)
_NAME: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*"
)
_PORT: Final = re.compile(r"0|[1-9][0-9]{0,4}")  # what is parsed as a number takes signs, underscores, other digits
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_ANSWER_HEADERS: Final = frozenset({b"retry-after"})

# The IANA special-purpose registries, and what else is no stranger's server. `is_global` of the standard library
# calls multicast, 6to4 and mapped addresses global, and differs between versions of Python.
_SPECIAL: Final[tuple[Network, ...]] = (
    *(
        IPv4Network(block)
        for block in (
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
            "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24",
            "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
            "168.63.129.16/32",  # a cloud's metadata service on an address that looks public
        )
    ),
    *(IPv6Network(block) for block in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")),
)  # fmt: skip
_UNICAST_V6: Final = IPv6Network("2000::/3")
_NAT64: Final = IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingRules:
    """What may be called and what a call may cost.

    ``private_networks`` may be called although they are not public. ``plain_http`` opens them, and nothing else, to
    calls without TLS.
    """

    private_networks: tuple[Network, ...] = ()
    plain_http: bool = False
    connect_timeout_s: float = 5.0
    timeout_s: float = 15.0
    answer_bytes_max: int = 65_536


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Tell whether a server of a stranger can live there: global unicast, whatever notation hides the address."""
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return False
        if address in _NAT64:
            return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
        if address not in _UNICAST_V6:
            return False  # mapped and compatible IPv4, loopback, link-local, unique-local, multicast
    return address.is_global and not any(address in block for block in _SPECIAL)


def check_url(url: str, *, rules: OutgoingRules) -> None:
    """Accept the form of an address that may be called. What its name leads to is checked by each call.

    Raises:
        ForbiddenAddress: a sentence says what to write instead.
    """
    if len(url) > URL_LENGTH_MAX:
        raise ForbiddenAddress(f"has more than {URL_LENGTH_MAX} characters; shorten it")
    if not url.isprintable() or " " in url or "\\" in url:
        raise ForbiddenAddress("holds a space, a backslash or a control character; percent-encode it")
    if "#" in url:
        raise ForbiddenAddress("has a fragment, which no server is sent; leave out everything from # on")
    authority = re.split(r"[/?]", url.partition("://")[2], maxsplit=1)[0]
    if "@" in authority:
        raise ForbiddenAddress("holds a user name or password; leave out everything up to @")
    _, colon, port = authority.rpartition(":")
    if colon and "]" not in port and not _PORT.fullmatch(port):
        raise ForbiddenAddress("has a port that is no plain number; leave the port out, with its colon")
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        raise ForbiddenAddress("cannot be read; write it as https://host/path") from None
    _check_parts(parsed, rules)


def _check_parts(url: httpx.URL, rules: OutgoingRules) -> None:
    if url.scheme not in _DEFAULT_PORTS:
        raise ForbiddenAddress("must begin with https://")
    if url.scheme == "http" and not rules.plain_http:
        raise ForbiddenAddress("must begin with https://; calls without TLS are not made")
    port = _port(url)
    if not 0 < port <= 65_535 or port in _REFUSED_PORTS:
        raise ForbiddenAddress(f"uses the port {port}, which is not called; use 443")
    if port < _UNRESERVED_PORT_MIN and port not in _DEFAULT_PORTS.values():
        raise ForbiddenAddress(f"uses the port {port}, which belongs to another service; use 443")
    _check_host(url.raw_host.decode("ascii"), rules, scheme=url.scheme)


def _port(url: httpx.URL) -> int:
    return _DEFAULT_PORTS[url.scheme] if url.port is None else url.port


def _check_host(host: str, rules: OutgoingRules, *, scheme: str) -> None:
    if _is_literal(host):
        _check_address(host, rules, scheme=scheme)
    elif not host:
        raise ForbiddenAddress("names no host; write it as https://host/path")
    elif host.endswith("."):
        raise ForbiddenAddress("has a host that ends in a dot; leave the dot out")
    elif _NUMBER.fullmatch(host.rpartition(".")[2]):
        raise ForbiddenAddress("has a host in an unusual notation of numbers; write its name")
    elif not _NAME.fullmatch(host):
        raise ForbiddenAddress("has a host that is no name; write it as https://host/path")
    elif host.rpartition(".")[2] == "localhost" and not any(_is_allowed(own, rules) for own in _THIS_MACHINE):
        raise ForbiddenAddress("leads to this machine; give a host that the internet can reach")


def _is_literal(host: str) -> bool:
    """Tell an address in its one usual notation from names, and from notations that only some resolvers read."""
    try:
        return ":" in host or str(IPv4Address(host)) == host
    except ValueError:
        return False


def _check_address(text: str, rules: OutgoingRules, *, scheme: str) -> None:
    try:
        address = ip_address(text)
    except ValueError:
        raise ForbiddenAddress("leads to something that is no IP address; give another host") from None
    if _is_allowed(address, rules):
        return
    if scheme != "https":
        raise ForbiddenAddress("must begin with https://; calls without TLS stay inside private networks")
    if not is_public(address):
        raise ForbiddenAddress("leads into a private network; give a host that the internet can reach")


def _is_allowed(address: IPv4Address | IPv6Address, rules: OutgoingRules) -> bool:
    has_zone = isinstance(address, IPv6Address) and address.scope_id is not None
    return not has_zone and any(address in network for network in rules.private_networks)


class OutgoingClient:
    """Makes checked calls; nothing is kept between them. The reasons of :class:`OutgoingFailed` are ``name not found``,
    ``timeout``, ``refused``, ``unreachable``, ``reset``, ``tls`` and ``protocol``.

    Each call opens a connection of its own, so each is checked. A pooled connection would still lead to the address
    that was checked, but it would follow a moved name late, and a POST, which must not be repeated, would be lost in
    one that the other side has just closed.
    """

    def __init__(
        self, rules: OutgoingRules, *, resolve: Resolve | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self._rules = rules
        self._http = httpx.AsyncClient(
            transport=_GuardedTransport(
                rules, resolve or NameResolver(), tls or httpx.create_ssl_context(trust_env=False)
            ),
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(None, connect=rules.connect_timeout_s),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            headers={"accept-encoding": "identity", "connection": "close", "user-agent": "Quittance"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    def check(self, url: str) -> None:
        """Accept the form of an address that may be called: :func:`check_url` under this client's rules."""
        check_url(url, rules=self._rules)

    async def post(self, url: str, *, body: bytes, headers: Mapping[str, str]) -> OutgoingAnswer:
        """Send ``body`` once. A redirect is not followed: its status is the answer, and its body is not waited for.

        Raises:
            ForbiddenAddress: no connection was made.
            OutgoingFailed: no answer, or not in time.
        """
        return await self._call(
            "POST", url, body=body, headers=headers, excerpt_s=EXCERPT_S, size_max=self._rules.answer_bytes_max
        )

    async def get(self, url: str, *, headers: Mapping[str, str], body_bytes_max: int | None = None) -> OutgoingAnswer:
        """Ask once, under the same rules as ``post``; the body is waited for as long as a call may take.

        Raises:
            ForbiddenAddress: no connection was made.
            OutgoingFailed: no answer, or not in time.
        """
        size_max = self._rules.answer_bytes_max if body_bytes_max is None else body_bytes_max
        return await self._call(
            "GET", url, body=None, headers=headers, excerpt_s=self._rules.timeout_s, size_max=size_max
        )

    async def _call(
        self, method: str, url: str, *, body: bytes | None, headers: Mapping[str, str], excerpt_s: float, size_max: int
    ) -> OutgoingAnswer:
        self.check(url)
        clock = asyncio.get_running_loop().time
        begun_s = clock()
        ends_s = begun_s + self._rules.timeout_s
        request = self._http.build_request(method, url, content=body, headers=dict(headers))
        try:
            async with asyncio.timeout_at(ends_s):
                response = await self._http.send(request, stream=True)
        except TimeoutError:
            raise OutgoingFailed("timeout") from None
        excerpt, is_whole = await self._read(response, until_s=min(ends_s, clock() + excerpt_s), size_max=size_max)
        return OutgoingAnswer(
            status_code=response.status_code,
            headers=dict(response.headers),
            body_excerpt=excerpt,
            is_whole=is_whole,
            took_s=clock() - begun_s,
        )

    async def _read(self, response: httpx.Response, *, until_s: float, size_max: int) -> tuple[bytes, bool]:
        """Read as the bytes come: unpacking could make a megabyte of a kilobyte.

        A body that breaks off, or does not end in time, is cut like one that is too long: what the other side decided
        stood in the status, and a message that they took must not be taken for lost.
        """
        content = bytearray()
        with contextlib.suppress(OutgoingFailed, TimeoutError):
            async with contextlib.aclosing(response), asyncio.timeout_at(until_s):
                async for chunk in response.aiter_raw():
                    content += chunk
                    if len(content) > size_max:
                        return bytes(content[:size_max]), False
            return bytes(content), True
        return bytes(content[:size_max]), False


class _GuardedTransport(httpx.AsyncBaseTransport):
    """Opens one connection a request, to an address that was checked for that request.

    Only the headers that are used come through: the client would read a ``Location`` also where it does not follow it,
    and fail over one that is malformed.
    """

    def __init__(self, rules: OutgoingRules, resolve: Resolve, tls: ssl.SSLContext) -> None:
        self._rules = rules
        self._resolve = resolve
        self._tls = tls

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        _check_parts(url, self._rules)  # again: it is this parsed form that is called
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=_port(url), target=url.raw_path)
        connection = httpcore.AsyncHTTPConnection(
            origin=target.origin,
            ssl_context=self._tls,
            network_backend=CheckedBackend(partial(self._checked_addresses, scheme=url.scheme)),
        )
        assert isinstance(request.stream, httpx.AsyncByteStream)
        try:
            with _told_as_ours():
                answer = await connection.handle_async_request(
                    httpcore.Request(
                        method=request.method,
                        url=target,
                        headers=request.headers.raw,
                        content=request.stream,
                        extensions=request.extensions,
                    )
                )
        except BaseException:  # a caller that gives up must not leave a socket behind
            await connection.aclose()
            raise
        headers = [(name, value) for name, value in answer.headers if name.lower() in _ANSWER_HEADERS]
        return httpx.Response(answer.status, headers=headers, stream=_Body(answer, connection))

    async def _checked_addresses(self, host: str, port: int, *, scheme: str) -> Sequence[str]:
        """Resolve a host once and check every address: those are called, and there is no second resolution."""
        try:
            addresses = [host] if _is_literal(host) else await self._resolve(host, port)
        except TimeoutError:
            raise
        except OSError:
            raise OutgoingFailed("name not found") from None
        if not addresses:
            raise OutgoingFailed("name not found")
        for address in addresses:
            _check_address(address, self._rules, scheme=scheme)
        return addresses


class _Body(httpx.AsyncByteStream):
    """The body of an answer; closing it closes its connection."""

    def __init__(self, answer: httpcore.Response, connection: httpcore.AsyncHTTPConnection) -> None:
        self._answer = answer
        self._connection = connection

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _told_as_ours():
            async for chunk in self._answer.aiter_stream():
                yield chunk

    async def aclose(self) -> None:
        with _told_as_ours():
            await self._answer.aclose()
            await self._connection.aclose()


@contextlib.contextmanager
def _told_as_ours() -> Iterator[None]:
    """Turn the library's errors into ours. Those of connecting are ours already: what is left of them is TLS."""
    try:
        yield
    except (httpcore.TimeoutException, TimeoutError) as error:
        raise OutgoingFailed("timeout") from error
    except (httpcore.ConnectError, ssl.SSLError) as error:
        raise OutgoingFailed("tls") from error
    except httpcore.ProtocolError as error:
        raise OutgoingFailed("protocol") from error
    except (httpcore.NetworkError, OSError) as error:
        raise OutgoingFailed("reset") from error
