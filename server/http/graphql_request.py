"""Reading a GraphQL request off HTTP: media types, the body, the members, and who may send it from a page."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
from starlette.datastructures import Headers
from starlette.requests import Request

from quittance.gql.documents import GraphQLRequest
from quittance.gql.masking import BAD_REQUEST, Problem, problem
from quittance.server.http.door import Door

RESPONSE_JSON = "application/graphql-response+json"
JSON = "application/json"
EVENT_STREAM = "text/event-stream"
HTML = "text/html"

_PARAMETERS = ("query", "operationName", "variables", "extensions", "documentId")
_REMEMBERED_LENGTH_MAX = 256
_UTF8 = frozenset({"utf-8", "utf8"})


class HttpRefusal(Exception):
    """The request is answered with this status before anything is executed."""

    def __init__(self, status: int, told: Problem, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(told["message"])
        self.status = status
        self.problem = told
        self.headers = dict(headers or {})


def refusal(status: int, message: str, code: str = BAD_REQUEST, **headers: str) -> HttpRefusal:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpRefusal(status, problem(message, code), named)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What the client reads: a JSON media type if any, event streams, pages; ``streams_first`` if it prefers those."""

    json: str | None
    streams: bool
    streams_first: bool
    html: bool


def negotiate(header: str | None) -> Accepted:
    """Read an ``Accept`` header; without one, or with a wildcard, the answer is ``application/json``."""
    usual = header is None or len(header) <= _REMEMBERED_LENGTH_MAX  # strangers must not fill our memory
    return _remembered(header) if usual else _negotiated(header)


@lru_cache(maxsize=256)
def _remembered(header: str | None) -> Accepted:
    return _negotiated(header)


def _negotiated(header: str | None) -> Accepted:
    if header is None or not header.strip():
        return Accepted(json=JSON, streams=False, streams_first=False, html=False)
    weights: dict[str, float] = {}
    for part in header.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weights[name] = max(weights.get(name, 0.0), _weight(parameters))
    wildcard = max(weights.get("*/*", 0.0), weights.get("application/*", 0.0))
    response_json = weights.get(RESPONSE_JSON, 0.0)
    plain_json = weights.get(JSON, wildcard)
    streams = weights.get(EVENT_STREAM, 0.0)
    best = max(response_json, plain_json)
    chosen = None if best <= 0 else RESPONSE_JSON if response_json >= plain_json else JSON
    return Accepted(json=chosen, streams=streams > 0, streams_first=streams > best, html=weights.get(HTML, 0.0) > 0)


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(1.0, max(0.0, float(value)))
            except ValueError:
                return 0.0
    return 1.0


def check_content_type(headers: Headers) -> None:
    """Take JSON only: a page of another site cannot send it without asking first.

    Raises:
        HttpRefusal: 415.
    """
    media, *parameters = (piece.strip().lower() for piece in headers.get("content-type", "").split(";"))
    if media != JSON:
        raise refusal(415, "send the request as application/json", "UNSUPPORTED_MEDIA_TYPE", Accept_Post=JSON)
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip().strip('"') not in _UTF8:
            raise refusal(415, "the body must be UTF-8", "UNSUPPORTED_MEDIA_TYPE", Accept_Post=JSON)
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise refusal(415, "the body must not be compressed", "UNSUPPORTED_MEDIA_TYPE", Accept_Encoding="identity")


def check_cross_site(request: Request, door: Door, accepted: Accepted) -> None:
    """Refuse a GET that a page of another site made without asking: by a link, an image, a form or an event source.

    Raises:
        HttpRefusal: 403.
    """
    headers = request.headers
    site = headers.get("sec-fetch-site", "none")
    if not door.trusts_origin(headers) or (site == "cross-site" and "origin" not in headers):
        raise refusal(403, "requests from pages of this site are not allowed", "FORBIDDEN")
    asked = "authorization" in headers or accepted.json == RESPONSE_JSON or accepted.streams
    if site not in {"none", "same-origin"} and "origin" not in headers and not asked:
        raise refusal(403, f"a page must send Accept: {RESPONSE_JSON}", "FORBIDDEN")


async def read_body(request: Request, *, bytes_max: int) -> bytes:
    """Return the body, never holding more than allowed.

    Raises:
        HttpRefusal: 413.
        ClientDisconnect: nobody waits for an answer.
    """
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared[:12]) > bytes_max:
        raise _too_large(bytes_max)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > bytes_max:
            raise _too_large(bytes_max)
    return bytes(body)


def _too_large(bytes_max: int) -> HttpRefusal:
    return refusal(413, f"a body has at most {bytes_max} bytes", "PAYLOAD_TOO_LARGE")


def parse_body(body: bytes, *, batch_max: int) -> GraphQLRequest | list[GraphQLRequest]:
    """Return the request in a body, or the requests of a batch where batches are allowed.

    Members that the specification does not name are ignored; of two equal members the last one counts.

    Raises:
        HttpRefusal: 400, naming what is wrong.
    """
    try:
        members = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise refusal(400, "the body is not valid JSON in UTF-8") from error
    if not isinstance(members, list):
        return request_of(members)
    if batch_max < 1:
        raise refusal(400, "batches are switched off; send one request at a time", "BATCHING_NOT_ALLOWED")
    if not 0 < len(members) <= batch_max:
        raise refusal(400, f"a batch has 1 to {batch_max} requests", "LIMIT_EXCEEDED")
    return [request_of(member) for member in members]


def parse_query(request: Request) -> GraphQLRequest:
    """Return the request in a query string.

    Raises:
        HttpRefusal: 400, naming what is wrong.
    """
    members: dict[str, Any] = {}
    for name in _PARAMETERS:
        values = request.query_params.getlist(name)
        if len(values) > 1:
            raise refusal(400, f"{name} is given more than once")
        if not values:
            continue
        members[name] = values[0]
        if name in {"variables", "extensions"}:
            try:
                members[name] = orjson.loads(values[0] or b"null")
            except orjson.JSONDecodeError as error:
                raise refusal(400, f"{name} is not valid JSON") from error
    return request_of(members)


def request_of(members: object) -> GraphQLRequest:
    """Check the types of a request's members; null is the same as absent.

    Raises:
        HttpRefusal: 400, naming the member.
    """
    if not isinstance(members, dict):
        raise refusal(400, "a request is a JSON object")
    request = GraphQLRequest(
        query=_text(members, "query"),
        operation_name=_text(members, "operationName") or None,
        variables=_object(members, "variables"),
        extensions=_object(members, "extensions"),
        document_id=_text(members, "documentId"),
    )
    if request.query is None and request.document_id is None and "persistedQuery" not in request.extensions:
        raise refusal(400, "query is missing")
    return request


def _text(members: dict[str, Any], name: str) -> str | None:
    value = members.get(name)
    if value is not None and not isinstance(value, str):
        raise refusal(400, f"{name} must be a string")
    return value


def _object(members: dict[str, Any], name: str) -> dict[str, Any]:
    value = members.get(name)
    if value is not None and not isinstance(value, dict):
        raise refusal(400, f"{name} must be an object")
    return value or {}
