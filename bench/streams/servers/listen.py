"""Runs a baseline as sse-hub is run: by uvicorn on uvloop and httptools, in one process, on a free port."""

import socket
from typing import Any

import uvicorn

_BACKLOG = 2048


def listen(application: Any, http: Any = "httptools") -> None:
    """Serve on a free port of 127.0.0.1 until a signal; prints `listening on http://…` first. `http` is uvicorn's."""
    with socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG) as listening:
        print(f"listening on http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
        config = uvicorn.Config(
            application,
            loop="uvloop",
            http=http,
            lifespan="auto",
            backlog=_BACKLOG,
            access_log=False,
            log_level="warning",
        )
        uvicorn.Server(config).run(sockets=[listening])
