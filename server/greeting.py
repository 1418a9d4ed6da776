"""What `serve` says once it is ready: where to look, with which key, and what to try first."""

import sys

from quittance.server.cli_offline import DEFAULT_URL
from quittance.server.demo import Demo
from quittance.server.settings import Settings


def _where(settings: Settings) -> str:
    """Return what tells a command where this server is, if that is not where it would look."""
    return "" if settings.base_url == DEFAULT_URL else f" --url {settings.base_url}"


def greet(settings: Settings, demo: Demo) -> None:
    """Print the banner to standard output; logs go to standard error."""
    base = settings.base_url
    lines = [
        "",
        f"  Quittance listens at {base}",
        f"  Playground   {base}/graphql" if settings.playground else "  Playground   off",
    ]
    if demo.api_key is not None:
        lines += [
            f"  API key      {demo.api_key}",
            f"  Article      {demo.article_id}",
            "",
            "  Three things to try next:",
            "  1. Open the playground: its tabs list the articles, make an invoice and watch it being paid.",
            f"  2. Pay an invoice from a sandbox node:  uv run quittance sandbox pay lnbcrt…{_where(settings)}",
            "  3. Look at everything that is checked:  uv run quittance doctor",
        ]
    elif settings.bootstrap_api_key is None:
        lines.append("  Make a key:  quittance keys create --name first --scope admin")
    sys.stdout.write("\n".join(lines) + "\n\n")
    sys.stdout.flush()
