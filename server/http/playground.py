"""The playground door: GraphiQL for browsers, with ready-made tabs."""

import secrets
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from quittance.server.http.local import is_local
from quittance.web.pages import PlaygroundView, playground_csp, render_playground


def playground(*, sandbox: bool, api_key: str | None, article_id: str | None) -> Callable[[Request], Response]:
    """Return what answers a browser at ``/graphql``; the sandbox's key is shown to this machine only."""

    def answer(request: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        local = sandbox and is_local(request)
        view = PlaygroundView(sandbox=local, api_key=api_key if local else None, article_id=article_id)
        headers = {
            "Content-Security-Policy": playground_csp(nonce),
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        return HTMLResponse(render_playground(view, nonce=nonce), headers=headers)

    return answer
