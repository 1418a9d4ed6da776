"""Structured logs: one JSON object a line, a request id on each, and nothing that is secret."""

import logging
import re
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

import orjson
import structlog

_SECRET_NAMES = re.compile(
    r"secret|preimage|macaroon|authorization|api_?key|password|token|nonce|signature", re.IGNORECASE
)
_SECRET_TEXTS = re.compile(
    r"q[klr]_[A-Za-z0-9_-]{8,}|whsec_[A-Za-z0-9+/=]{8,}|pay_[0-9a-f]{32}_secret_[0-9a-f]+|(?i:bearer)\s+\S+"
    r"|(?i:lnurl1[02-9ac-hj-np-z]{8,})|\bk1=[0-9A-Fa-f]{8,}"
)
_HIDDEN = "…"


def configure_logs(*, level: str, as_json: bool) -> None:
    """Send our lines, and those of the standard library's loggers, to standard error in one form."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        hide_secrets,
    ]
    renderer: Any = _as_json if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[*shared, renderer],
        logger_factory=_StandardError,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processor=renderer))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for noisy in ("uvicorn", "uvicorn.error", "uvicorn.access", "alembic"):
        logger = logging.getLogger(noisy)
        logger.handlers = []
        logger.propagate = True
        logger.setLevel(logging.WARNING)
    logging.getLogger("httpx").setLevel(logging.WARNING)


class _StandardError:
    """Writes a line at once. Ours do not pass the standard library's loggers, which cost several times as much."""

    def __init__(self, name: str) -> None:
        self.name = name

    def msg(self, line: str) -> None:
        with suppress(OSError, ValueError):  # a full disk or a reader that is gone must not stop a loop of money
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

    debug = info = warning = error = critical = exception = msg


def _as_json(_logger: Any, _method: str, record: MutableMapping[str, Any]) -> str:
    return orjson.dumps(record, default=str).decode()


@lru_cache(maxsize=1_024)
def _is_secret(name: str) -> bool:
    return name != "event" and _SECRET_NAMES.search(name) is not None


def hide_secrets(_logger: Any, _method: str, record: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blank out members whose name or text gives a secret away: the last net, not the first."""
    for name, value in record.items():
        if _is_secret(name):
            record[name] = _HIDDEN
        elif isinstance(value, str):
            record[name] = _SECRET_TEXTS.sub(_HIDDEN, value)
    return record
