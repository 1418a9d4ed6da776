"""Reading a GraphQL request out of an HTTP request: strictly, and never more than the limit."""

from typing import Any

import orjson
from starlette.requests import Request

from quittance.gql.documents import GraphQLRequest
from quittance.gql.limits import TransportLimits

_JSON = "application/json"
_MEMBERS = frozenset({"query", "variables", "operationName", "extensions", "documentId", "id"})
_OBJECTS = ("variables", "extensions")


class BadRequest(Exception):
    """The HTTP request cannot be a GraphQL request."""

    def __init__(self, message: str, *, status: int = 400, code: str = "BAD_REQUEST") -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code


async def read_post(request: Request, limits: TransportLimits) -> GraphQLRequest | list[GraphQLRequest]:
    """Return what a POST asks.

    Only ``application/json`` is read: a form or plain text could be sent by any site without asking first.

    Raises:
        BadRequest: another content type (415), too large (413), not JSON, or not of the right shape.
    """
    content_type, _, parameters = request.headers.get("content-type", "").partition(";")
    if content_type.strip().lower() != _JSON:
        raise BadRequest(f"Content-Type must be {_JSON}", status=415, code="UNSUPPORTED_MEDIA_TYPE")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if charset not in {"", "utf-8", "utf8"}:
        raise BadRequest("the charset must be utf-8", status=415, code="UNSUPPORTED_MEDIA_TYPE")
    try:
        body: Any = orjson.loads(await _body(request, limits))
    except orjson.JSONDecodeError:
        raise BadRequest("the body is not JSON") from None
    if isinstance(body, list):
        return _batch(body, limits)
    return request_of(body)


async def read_get(request: Request, limits: TransportLimits) -> GraphQLRequest:
    """Return what a GET asks; only queries may come this way.

    Raises:
        BadRequest: another site's page asks without the reader's knowledge, or a parameter is not JSON.
    """
    if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none", "same-site"}:
        raise BadRequest("cross-site requests must use POST", status=403, code="CSRF_REFUSED")
    if len(str(request.url.query)) > limits.body_bytes_max:
        raise BadRequest("the query string is too long", status=414, code="LIMIT_EXCEEDED")
    body: dict[str, Any] = {name: value for name, value in request.query_params.items() if name in _MEMBERS}
    for name in _OBJECTS:
        if name in body:
            try:
                body[name] = orjson.loads(body[name])
            except orjson.JSONDecodeError:
                raise BadRequest(f"{name} is not JSON") from None
    last_event_id = request.headers.get("last-event-id")
    parsed = request_of(body)
    if last_event_id and isinstance(body.get("variables"), dict) and "after" not in body["variables"]:
        body["variables"]["after"] = last_event_id
        parsed = request_of(body)
    return parsed


def request_of(body: object) -> GraphQLRequest:
    """Return a request from its JSON object, whatever transport it came by.

    Raises:
        BadRequest: a member has the wrong type.
    """
    if not isinstance(body, dict):
        raise BadRequest("the request must be a JSON object")
    for name in _OBJECTS:
        if not isinstance(body.get(name) or {}, dict):
            raise BadRequest(f"{name} must be an object")
    for name in ("query", "operationName", "documentId"):
        if not isinstance(body.get(name) or "", str):
            raise BadRequest(f"{name} must be a string")
    return GraphQLRequest(
        query=body.get("query"),
        operation_name=body.get("operationName"),
        variables=body.get("variables") or {},
        extensions=body.get("extensions") or {},
        document_id=body.get("documentId"),
    )


def _batch(body: list[Any], limits: TransportLimits) -> list[GraphQLRequest]:
    if limits.batch_max == 0:
        raise BadRequest("batches are not accepted; send one operation a request", code="LIMIT_EXCEEDED")
    if not 1 <= len(body) <= limits.batch_max:
        raise BadRequest(f"a batch has 1 to {limits.batch_max} operations", code="LIMIT_EXCEEDED")
    return [request_of(one) for one in body]


async def _body(request: Request, limits: TransportLimits) -> bytes:
    refusal = BadRequest(f"the body exceeds {limits.body_bytes_max} bytes", status=413, code="LIMIT_EXCEEDED")
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limits.body_bytes_max:
        raise refusal
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limits.body_bytes_max:
            raise refusal
    return bytes(body)
