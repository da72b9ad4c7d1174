"""The web page: files of `web/` as they are, under a policy that lets them reach this service only.

The page is plain HTML, CSS and JavaScript modules; nothing is built. Anybody may load it, since it
holds no secret: the calls it makes carry the key that a person enters.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import FastAPI
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_FOLDER: Final = Path(__file__).parent / "web"
_MOUNT: Final = "/web"
_POLICY: Final = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' blob: data:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
}
_HEADERS: Final = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",  # asked for again each time, answered 304 by the tag
}


def add_web_page(app: FastAPI) -> None:
    """Serve the page at ``/`` and its files below ``/web``."""

    async def page() -> FileResponse:
        return FileResponse(_FOLDER / "index.html", headers=_HEADERS)

    app.add_api_route("/", page, methods=["GET"], include_in_schema=False)
    app.mount(_MOUNT, _PageFiles(directory=_FOLDER))


def is_page_path(path: str) -> bool:
    """Whether a path belongs to the page, which is served to everybody."""
    return path == "/" or path.startswith(f"{_MOUNT}/")


class _PageFiles(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(_HEADERS)
        return response
