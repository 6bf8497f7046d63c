"""A hub on this machine: repositories of files in memory, over HTTP as huggingface_hub asks."""

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ID = "owner/model"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What the server has and what it was asked.

    Attributes:
        files: of each repository: id -> name -> bytes.
        gated: ids that want a licence accepted.
        vanished: (id, name) that are listed but answered with 404.
        break_after: of a name: how many bytes to send before the connection breaks, once.
        asked: (method, path, Range header) in order.
    """

    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    vanished: set[tuple[str, str]] = field(default_factory=set)
    break_after: dict[str, int] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    address: str = ""

    def add(self, repository: str, folder: Path) -> None:
        """Puts the files of a folder into a repository."""
        self.files[repository] = {each.name: each.read_bytes() for each in folder.iterdir()}

    def fetched(self, name: str) -> list[str]:
        """The Range header of each GET of a file, in order."""
        return [
            span for method, path, span in self.asked if method == "GET" and path.endswith(name)
        ]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        path = self.path.partition("?")[0]
        self.hub.asked.append((self.command, path, self.headers.get("Range", "")))
        if path.startswith("/api/models/"):
            repository = "/".join(path.split("/")[3:5])
            if len(path.split("/")) > 7 and "/tree/" in path:  # a folder; there are none here
                self.refuse(404, "EntryNotFound", "Entry not found")
            else:
                self.listing(repository, tree="/tree/" in path)
            return
        repository, _, rest = path[1:].partition("/resolve/")
        self.file(repository, rest.partition("/")[2], body)

    def refuse(self, status: int, code: str, message: str) -> None:
        self.send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": message})

    def listing(self, repository: str, tree: bool) -> None:
        files = self.hub.files.get(repository)
        if files is None:
            self.refuse(401, "RepoNotFound", "Repository not found")
            return
        entries = [
            {"type": "file", "path": name, "size": len(data), "oid": _etag(data)}
            for name, data in files.items()
        ]
        info = {
            "id": repository,
            "modelId": repository,
            "sha": COMMIT,
            "siblings": [{"rfilename": name, "size": len(data)} for name, data in files.items()],
        }
        self.send(200, json.dumps(entries if tree else info).encode())

    def file(self, repository: str, name: str, body: bool) -> None:
        if repository not in self.hub.files:
            self.refuse(401, "RepoNotFound", "Repository not found")
            return
        if repository in self.hub.gated:
            self.refuse(403, "GatedRepo", "Access to this model is restricted")
            return
        data = self.hub.files.get(repository, {}).get(name)
        if data is None or (repository, name) in self.hub.vanished:
            self.refuse(404, "EntryNotFound", "Entry not found")
            return
        headers = {"ETag": f'"{_etag(data)}"', "X-Repo-Commit": COMMIT}
        span = self.headers.get("Range", "bytes=0-").removeprefix("bytes=")
        start, last = span.split("-")
        piece = data[int(start) : int(last) + 1 if last else None]
        headers["Content-Range"] = f"bytes {start}-{int(start) + len(piece) - 1}/{len(data)}"
        stop = self.hub.break_after.pop(name, None) if body else None
        self.send(200 if span == "0-" else 206, piece, headers, body, stop)

    def send(
        self,
        status: int,
        data: bytes,
        headers: dict[str, str] | None = None,
        body: bool = True,
        stop: int | None = None,
    ) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if body and self.command != "HEAD":
            self.wfile.write(data[:stop])
        if stop is not None:
            self.close_connection = True


def _etag(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


@contextmanager
def serve() -> Iterator[Hub]:
    """A hub that answers while the block lasts."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        hub.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield hub
        server.shutdown()
        thread.join()
