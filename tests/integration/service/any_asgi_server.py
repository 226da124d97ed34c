"""`sse-hub` on uvicorn's own protocol, which hands no connection over: streams as on any other ASGI server.

Run as a program, in place of sse-hub.
"""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sse_app import server
from sse_app.cli import main

if __name__ == "__main__":
    server.TransportProtocol = HttpToolsProtocol  # type: ignore[assignment,attr-defined]
    main()
