"""Static files of the pages: listed once, served by name from that list alone."""

import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable

ASSETS_PREFIX = "/assets"
_COMPRESS_FROM_BYTES = 1_024
_CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One representation of a file; ``etag`` is strong, so each encoding has its own."""

    body: bytes
    content_type: str
    etag: str
    encoding: str | None


def asset(path: str, *, accepts_gzip: bool = False) -> Asset | None:
    """Return a static file by its path below ``static``, or nothing for a path that is not listed."""
    return _asset(path, accepts_gzip) if path in _listing() else None


def asset_url(path: str) -> str:
    """Return an address whose content never changes: it names the version of all files together.

    Raises:
        KeyError: no such file; a template names one that is not there.
    """
    if path not in _listing():
        raise KeyError(path)
    return f"{ASSETS_PREFIX}/{assets_version()}/{path}"


@lru_cache(maxsize=1)
def assets_version() -> str:
    """Return a digest of every file, so that modules may import each other by relative address."""
    digest = hashlib.sha256()
    for path, file in sorted(_listing().items()):
        digest.update(path.encode() + b"\x00" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


@lru_cache(maxsize=1)
def _listing() -> dict[str, Traversable]:
    """Map each servable path to its file. A lookup never touches the file system with what a client sent."""
    return dict(_walk(files("quittance.web") / "static", ""))


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        path = f"{prefix}{entry.name}"
        if entry.is_dir():
            yield from _walk(entry, f"{path}/")
        elif _content_type(path) is not None:
            yield path, entry


def _content_type(path: str) -> str | None:
    return _CONTENT_TYPES.get(path[path.rfind(".") :])


@lru_cache(maxsize=128)  # bounded by the listing, two encodings a file
def _asset(path: str, compressed: bool) -> Asset:  # noqa: FBT001  # a cache key takes no keyword
    body = _listing()[path].read_bytes()
    digest = hashlib.sha256(body).hexdigest()[:32]
    content_type = _content_type(path) or "application/octet-stream"
    if compressed and len(body) >= _COMPRESS_FROM_BYTES:
        body = gzip.compress(body, 6, mtime=0)
        return Asset(body=body, content_type=content_type, etag=f'"{digest}-gzip"', encoding="gzip")
    return Asset(body=body, content_type=content_type, etag=f'"{digest}"', encoding=None)
