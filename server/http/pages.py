"""Routes of the static files that the pages load."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from quittance.web.assets import ASSETS_PREFIX, asset, assets_version

_FOREVER = "public, max-age=31536000, immutable"
_REVALIDATE = "no-cache"  # an address of another release: still answered, never kept


def asset_routes() -> list[Route]:
    """Return the route that serves every listed file under its versioned address."""
    return [Route(f"{ASSETS_PREFIX}/{{version}}/{{path:path}}", _serve_asset, methods=["GET"], name="asset")]


def _serve_asset(request: Request) -> Response:  # not a coroutine: the first compression runs in a thread
    found = asset(request.path_params["path"], accepts_gzip=_accepts_gzip(request.headers.get("accept-encoding", "")))
    if found is None:
        return Response("no such file\n", status_code=404, media_type="text/plain")
    current = request.path_params["version"] == assets_version()
    headers = {
        "ETag": found.etag,
        "Cache-Control": _FOREVER if current else _REVALIDATE,
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    if _matches(request.headers.get("if-none-match", ""), found.etag):
        return Response(status_code=304, headers=headers)
    if found.encoding is not None:
        headers["Content-Encoding"] = found.encoding
    return Response(found.body, headers=headers | {"Content-Type": found.content_type})


def _accepts_gzip(header: str) -> bool:
    for part in header.lower().split(","):
        coding, _, weight = part.partition(";")
        if coding.strip() in {"gzip", "*"}:
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False


def _matches(header: str, etag: str) -> bool:
    """Compare weakly, as If-None-Match asks (RFC 9110, 13.1.2)."""
    return any(candidate.strip().removeprefix("W/") in {etag, "*"} for candidate in header.split(","))
