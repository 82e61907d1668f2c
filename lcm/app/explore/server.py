"""The server of the explorer: on this machine alone, for pages that it has served itself."""

from __future__ import annotations

import logging
import socket
import webbrowser
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from werkzeug.serving import BaseWSGIServer

    from lcm.app.explore.beside import Beside
    from lcm.app.explore.subject import Subject

HOST = "127.0.0.1"
EXTRA = "Expected the extra `explore` for lcm explore (pip install 'latent-causal-models[explore]'); got no {}"

# images and styles of the page itself; nothing from elsewhere, and nothing to elsewhere
_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def require_extra() -> None:
    """Raise ImportError, naming the extra, where Dash is not installed."""
    if find_spec("dash") is None:
        raise ImportError(EXTRA.format("dash"))


def open_socket(port: int) -> socket.socket:
    """A socket that listens on a port of this machine; 0 takes a free one.

    Raises:
        ValueError: a port out of range, or one that another program uses.
    """
    if not 0 <= port <= 65_535:
        raise ValueError(f"--port: Expected a number in 0..65535; got {port}")
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen()
    except OSError as error:
        listening.close()
        raise ValueError(
            f"--port: Expected a port that is free; got {port} ({error.strerror}). --port 0 takes any"
        ) from error
    return listening


def require_browser() -> webbrowser.BaseBrowser:
    """The browser of this machine. Raises ValueError where there is none."""
    try:
        return webbrowser.get()
    except webbrowser.Error as error:
        raise ValueError(
            "Expected a browser on this machine; got none (--no-browser serves the page and prints its address)"
        ) from error


def make_server(subject: Subject, beside: Beside | None, listening: socket.socket) -> BaseWSGIServer:
    """A server of the page of one model, on a socket that listens."""
    import werkzeug.serving

    # one line a request is of no use to the person at the terminal
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    port = listening.getsockname()[1]
    return werkzeug.serving.make_server(
        HOST, port, make_app(subject, beside, port).server, threaded=True, fd=listening.fileno()
    )


def make_app(subject: Subject, beside: Beside | None, port: int) -> Any:
    """The page as a Dash app, which answers requests to its own address alone."""
    from dash import Dash

    from lcm.app.explore.page import INDEX, layout
    from lcm.app.explore.replies import add_replies

    app = Dash(
        __name__,
        title=f"lcm explore {subject.path.name}",
        update_title="",
        index_string=INDEX,
        compress=False,
        enable_mcp=False,
        meta_tags=[{"name": "viewport", "content": "width=device-width, initial-scale=1"}],
    )
    # a function, so that a tab that opens later has the names of now
    app.layout = lambda: layout(subject, beside is not None)
    add_replies(app, subject, beside)
    _guard(app.server, port)
    return app


def _guard(server: Any, port: int) -> None:
    from flask import Response, request

    hosts = {f"{name}:{port}" for name in (HOST, "localhost")}
    origins = {f"http://{host}" for host in hosts}

    @server.before_request
    def refuse_others() -> Response | None:
        origin = request.headers.get("Origin")
        foreign = request.headers.get("Sec-Fetch-Site", "same-origin") == "cross-site" and request.method != "GET"
        if request.host not in hosts or (origin is not None and origin not in origins) or foreign:
            return Response("lcm explore answers requests of this machine to its own address alone.\n", 403)
        return None

    @server.after_request
    def add_policy(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    @server.get("/alive")
    def alive() -> Response:
        return Response("yes", headers={"Cache-Control": "no-store"})
