"""Pages for people: the API page and the test page. All they need is served from here, so they work offline."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from html import escape
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
from litestar import Request, Response, Router, get
from swagger_ui_bundle import swagger_ui_path

DEMO_FILES = Path(__file__).parent / "pages"
PREFIX_TOKEN = "__SSE_PREFIX__"  # noqa: S105 - what a page has in place of the prefix
CONTENT_TYPES = {".css": "text/css", ".js": "text/javascript", ".png": "image/png"}
SWAGGER_UI_FILES = ("favicon-32x32.png", "swagger-ui-bundle.js", "swagger-ui.css")

_START = """SwaggerUIBundle({
  url: "schema/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  validatorUrl: "none",
});"""
_API_PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>sse-hub API</title>
<link rel="icon" href="schema/favicon-32x32.png">
<link rel="stylesheet" href="schema/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<noscript>This page needs JavaScript. The document is at <a href="schema/openapi.json">openapi.json</a>.</noscript>
<script src="schema/swagger-ui-bundle.js"></script>
<script>{_START}</script>
</body>
</html>
"""


def page_routes(prefix: str, document: Mapping[str, object]) -> list[Router]:
    """`/schema` and `/demo` (SPEC §2). `prefix` is where the test page finds the API.

    When the application is mounted below a path (ASGI `root_path`), both pages find the API there.
    """
    return [_schema_router(document), _demo_router(prefix)]


def _schema_router(document: Mapping[str, object]) -> Router:
    @cache
    def openapi(root_path: str) -> bytes:
        return msgspec.json.encode({**document, "servers": [{"url": root_path or "/"}]})

    @get("/")
    async def schema(request: Request[Any, Any, Any]) -> Response[bytes]:
        if "text/html" in request.headers.get("accept", ""):
            return _page(request, _API_PAGE, script=_START)
        answer = openapi(request.scope["root_path"])
        return Response(answer, media_type="application/json", headers={"Vary": "Accept"})

    @get("/openapi.json")
    async def openapi_json(request: Request[Any, Any, Any]) -> Response[bytes]:
        return Response(openapi(request.scope["root_path"]), media_type="application/json")

    @get([f"/{name}" for name in SWAGGER_UI_FILES])
    async def asset(request: Request[Any, Any, Any]) -> Response[bytes]:
        return _file(Path(swagger_ui_path), request)

    return Router("/schema", route_handlers=[schema, openapi_json, asset], include_in_schema=False)


def _demo_router(prefix: str) -> Router:
    html = (DEMO_FILES / "demo.html").read_text("utf-8")
    names = sorted(path.name for path in DEMO_FILES.iterdir() if path.suffix in CONTENT_TYPES)

    @get("/")
    async def demo(request: Request[Any, Any, Any]) -> Response[bytes]:
        return _page(request, html.replace(PREFIX_TOKEN, escape(request.scope["root_path"] + prefix)))

    @get([f"/{name}" for name in names])
    async def asset(request: Request[Any, Any, Any]) -> Response[bytes]:
        return _file(DEMO_FILES, request)

    return Router("/demo", route_handlers=[demo, asset], include_in_schema=False)


def _page(request: Request[Any, Any, Any], html: str, *, script: str | None = None) -> Response[bytes]:
    """A page that may load, run and call only what comes from here, and besides run the one inline `script`."""
    if request.scope["raw_path"].endswith(b"/"):  # the page's links are relative to its path without the slash
        name = PurePosixPath(request.scope["path"]).name
        return Response(
            b"",
            status_code=HTTPStatus.PERMANENT_REDIRECT.value,
            media_type="text/html",
            headers={"Location": f"../{name}"},
        )
    digest = "" if script is None else base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'",
        f"script-src 'self' 'sha256-{digest}'" if digest else "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
    return Response(
        html.encode(),
        media_type="text/html",
        headers={
            "Content-Security-Policy": "; ".join(policy),
            "Referrer-Policy": "no-referrer",
            "Vary": "Accept",
            "X-Content-Type-Options": "nosniff",
        },
    )


def _file(folder: Path, request: Request[Any, Any, Any]) -> Response[bytes]:
    """A file that has a route of its own, so its name is one of ours."""
    path = folder / PurePosixPath(request.scope["path"]).name
    return Response(
        _content(path),
        media_type=CONTENT_TYPES[path.suffix],
        headers={"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"},
    )


@cache
def _content(path: Path) -> bytes:
    return path.read_bytes()
