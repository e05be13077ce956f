"""A page to search an index by hand: on this machine only, without a script."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from textcl.errors import UserError
from textcl.figures.pages import render
from textcl.retrieval.index import Index
from textcl.retrieval.search_hits import SearchHit

HOST = "127.0.0.1"
_LONGEST = 8192  # characters of a request's address
_MOST = 100
_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

Search = Callable[[str, int], list[SearchHit]]


class SearchServer(ThreadingHTTPServer):
    """Answers requests for one index.

    Args:
        index: What is searched.
        port: Of this machine; 0 takes a free one.
        threshold: Leave out documents of a lower score; None leaves none out.

    Raises:
        UserError: If the port is taken.
    """

    daemon_threads = True

    def __init__(self, index: Index, port: int = 0, threshold: float | None = None) -> None:
        self.index, self.threshold = index, threshold
        self._one_at_a_time = threading.Lock()  # tokenizers do not share
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise UserError(
                f"port {port} cannot be used ({error.strerror}): name another with --port, or 0 for a free one"
            ) from error
        self.hosts = {f"{name}:{self.server_port}" for name in (HOST, "localhost")}

    @property
    def address(self) -> str:
        """Address of the page."""
        return f"http://{HOST}:{self.server_port}/"

    def search(self, query: str, k: int) -> list[SearchHit]:
        """The best documents for a query."""
        with self._one_at_a_time:
            return self.index.search([query], k, threshold=self.threshold)[0]


class _Handler(BaseHTTPRequestHandler):
    server: SearchServer  # pyright: ignore[reportIncompatibleVariableOverride]
    server_version, sys_version = "textcl", ""
    timeout = 60

    def do_GET(self) -> None:
        # a page of another host that resolves to this machine has that host's name in its requests
        if self.headers.get("Host", "") not in self.server.hosts:
            self._send(HTTPStatus.FORBIDDEN, f"this page is served as {self.server.address} only")
        elif len(self.path) > _LONGEST:
            self._send(HTTPStatus.REQUEST_URI_TOO_LONG, "the query is too long")
        elif (address := urlsplit(self.path)).path != "/":
            self._send(HTTPStatus.NOT_FOUND, "there is no such page")
        else:
            self._answer(parse_qs(address.query))

    def _answer(self, asked: dict[str, list[str]]) -> None:
        query = asked.get("q", [""])[0].strip()
        wanted = asked.get("k", ["10"])[0]
        k = min(max(int(wanted), 1), _MOST) if wanted.isdecimal() and len(wanted) < 9 else 10
        try:
            hits = self.server.search(query, k) if query else []
        except UserError as error:
            self._send(HTTPStatus.BAD_REQUEST, str(error))
            return
        page = render(
            "textcl.retrieval",
            "search.html.jinja",
            query=query,
            k=k,
            most=_MOST,
            hits=hits,
            rows=len(self.server.index),
            model=self.server.index.manifest.model,
        )
        self._send(HTTPStatus.OK, page)

    def _send(self, status: HTTPStatus, page: str) -> None:
        if status != HTTPStatus.OK:
            page = render("textcl.retrieval", "error.html.jinja", text=page)
        body = page.encode()
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: queries are the business of who typed them."""
