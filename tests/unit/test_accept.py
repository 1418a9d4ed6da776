"""The Accept header: what the answer is written in, and how much of what strangers send is remembered."""

import pytest

from quittance.server.http.graphql_request import (
    _REMEMBERED_LENGTH_MAX,
    JSON,
    RESPONSE_JSON,
    Accepted,
    _remembered,
    negotiate,
)


def accepted(json: str | None, *, streams: bool = False, streams_first: bool = False, html: bool = False) -> Accepted:
    return Accepted(json=json, streams=streams, streams_first=streams_first, html=html)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, accepted(JSON)),
        ("", accepted(JSON)),
        ("*/*", accepted(JSON)),
        (RESPONSE_JSON, accepted(RESPONSE_JSON)),
        (f"{JSON}, {RESPONSE_JSON}", accepted(RESPONSE_JSON)),
        (f"{JSON}, {RESPONSE_JSON};q=0.5", accepted(JSON)),
        ("text/event-stream", accepted(None, streams=True, streams_first=True)),
        ("text/event-stream;q=0.1, application/json", accepted(JSON, streams=True)),
        ("text/html,*/*;q=0.8", accepted(JSON, html=True)),
        ("image/png", accepted(None)),
        (f"{JSON};q=nonsense", accepted(None)),
    ],
)
def test_the_answer_is_written_in_what_the_client_reads_best(header: str | None, expected: Accepted) -> None:
    assert negotiate(header) == expected


def test_a_long_header_is_read_and_not_remembered() -> None:
    _remembered.cache_clear()
    usual, long = RESPONSE_JSON.ljust(_REMEMBERED_LENGTH_MAX), RESPONSE_JSON.ljust(_REMEMBERED_LENGTH_MAX + 1)

    read = [negotiate(usual), negotiate(long)]

    assert read == [accepted(RESPONSE_JSON)] * 2
    assert _remembered.cache_info().currsize == 1


def test_no_more_than_so_many_headers_are_remembered() -> None:
    for n in range(1_000):
        negotiate(f"{JSON};q=0.{n}")

    assert _remembered.cache_info().currsize == _remembered.cache_info().maxsize == 256
