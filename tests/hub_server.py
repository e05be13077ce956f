"""A stand-in of the hub's HTTP interface that serves one data set from a folder, as far as `datasets` streams it."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

NAME, FIRST, SECOND = "me/rows", "c" * 40, "d" * 40


class _Hub(BaseHTTPRequestHandler):
    server: Any
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        path = self.path.partition("?")[0]
        api, files = f"/api/datasets/{NAME}", f"/datasets/{NAME}/resolve/"
        if path.startswith(files):
            commit, _, name = path.removeprefix(files).partition("/")
            return self.file(self.commit(commit), name)
        if path != api and not path.startswith(f"{api}/"):
            return self.missing("RepoNotFound")
        kind, _, commit = path.removeprefix(api).strip("/").partition("/")
        sha = self.commit(commit.partition("/")[0])
        if kind == "tree":
            return self.answer([self.entry(name) for name in self.names(sha)])
        siblings = [{"rfilename": name} for name in self.names(sha)]
        return self.answer({"id": NAME, "sha": sha, "siblings": siblings})

    def do_HEAD(self) -> None:
        self.do_GET()

    def commit(self, revision: str) -> str:
        """The commit that a revision stands for."""
        return self.server.head if revision in ("", "main") else revision

    def names(self, commit: str) -> list[str]:
        """Files of a commit: the second has none left."""
        files = sorted(path.name for path in self.server.folder.iterdir())
        return files if commit == FIRST else []

    def entry(self, name: str) -> dict[str, object]:
        size = (self.server.folder / name).stat().st_size
        return {"type": "file", "path": name, "size": size, "oid": "0" * 40}

    def file(self, commit: str, name: str) -> None:
        path = self.server.folder / name
        if name not in self.names(commit):
            return self.missing("EntryNotFound")
        content, status, more = path.read_bytes(), 200, {}
        if asked := self.headers.get("Range"):
            first, last = asked.removeprefix("bytes=").split("-")
            size, begin = len(content), int(first)
            content = content[begin : int(last) + 1 if last else None]
            more = {"Content-Range": f"bytes {begin}-{begin + len(content) - 1}/{size}"}
            status = 206
        headers = {"ETag": f'"{name}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes", **more}
        return self.send(content, status, headers)

    def missing(self, code: str) -> None:
        self.send(b"{}", 404, {"X-Error-Code": code, "X-Error-Message": "not here"})

    def answer(self, content: object) -> None:
        self.send(json.dumps(content).encode(), 200, {"Content-Type": "application/json"})

    def send(self, body: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


class HubServer(ThreadingHTTPServer):
    """The server; `asked` lists the paths of all requests, and `head` is the commit of the branch main."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Hub)
        self.folder, self.asked, self.head = folder, list[str](), FIRST
        self.address = f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def hub_of(folder: Path) -> Generator[HubServer]:
    """Serve the files of a folder as the data set `NAME` while the block runs."""
    with HubServer(folder) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
