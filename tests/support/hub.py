"""A stand-in for the hub: as much of its HTTP interface as making a repository and uploading to it takes.

Keeps repositories in memory: what arrives is what a commit names, regular files in it and large ones by their hash.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

TOKEN = "hf_right"
LARGE = (".onnx", ".so", ".dylib", ".dll")


@dataclass
class Hub:
    """What the server holds and was asked.

    Attributes:
        address: where it listens.
        repositories: id -> file name -> content.
        created: what creating repositories was asked with.
        commits: how many there were.
        objects: large files by hash, uploaded and not yet named by a commit.
        forbidden: owners whose repositories nobody may write.
        damages: whether uploads arrive with a byte changed.
    """

    address: str = ""
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    created: list[dict[str, Any]] = field(default_factory=list)
    commits: int = 0
    objects: dict[str, bytes] = field(default_factory=dict)
    forbidden: tuple[str, ...] = ("stranger",)
    damages: bool = False

    def answer(self, path: str, body: bytes) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        routes: dict[str, Callable[..., tuple[int, Any]]] = {
            r"/api/repos/create": self._create,
            r"/api/validate-yaml|/verify": lambda _: (200, {}),
            r"/objects/(\w+)": self._store,
            r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch": self._batch,
            r"/api/models/([^/]+/[^/]+)/(preupload|commit|tree)/([^/]+)": self._repository,
        }
        for pattern, route in routes.items():
            if found := re.fullmatch(pattern, path):
                return route(body, *found.groups())
        return 404, {"error": f"no such address: {path}"}

    def _repository(self, body: bytes, name: str, what: str, revision: str) -> tuple[int, Any]:
        if name not in self.repositories or revision != "main":
            return 404, {"error": "Repository not found" if revision == "main" else f"Invalid rev id: {revision}"}
        if what == "commit":
            return self._commit(name, [json.loads(line) for line in body.splitlines()])
        if what == "tree":
            files = self.repositories[name]
            return 200, [{"type": "file", "path": n, "size": len(c), "oid": "0" * 40} for n, c in files.items()]
        names = [file["path"] for file in json.loads(body)["files"]]
        modes = {name: "lfs" if name.endswith(LARGE) else "regular" for name in names}
        return 200, {"files": [{"path": n, "uploadMode": m, "shouldIgnore": False} for n, m in modes.items()]}

    def _create(self, body: bytes) -> tuple[int, Any]:
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        if asked["organization"] in self.forbidden:
            return 403, {"error": f"You don't have the rights to create a model under {asked['organization']}"}
        self.created.append(asked)
        known = name in self.repositories
        self.repositories.setdefault(name, {".gitattributes": b"*.onnx filter=lfs\n"})
        return (409 if known else 200), {"url": f"{self.address}/{name}"}

    def _batch(self, body: bytes, repository: str) -> tuple[int, Any]:
        objects = json.loads(body)["objects"] if repository in self.repositories else []

        def actions(oid: str) -> dict[str, Any]:
            return {"upload": {"href": f"{self.address}/objects/{oid}"}, "verify": {"href": f"{self.address}/verify"}}

        return 200, {
            "transfer": "basic",
            "objects": [{**wanted, "actions": actions(wanted["oid"])} for wanted in objects],
        }

    def _store(self, body: bytes, oid: str) -> tuple[int, Any]:
        content = bytes([body[0] ^ 1]) + body[1:] if self.damages else body
        if hashlib.sha256(content).hexdigest() != oid:
            return 400, {"error": "the content has another hash"}
        self.objects[oid] = content
        return 200, {}

    def _commit(self, repository: str, lines: list[dict[str, Any]]) -> tuple[int, Any]:
        files = self.repositories[repository]
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.objects[value["oid"]]
        self.commits += 1
        url = f"{self.address}/{repository}/commit/{self.commits}"
        return 200, {"commitUrl": url, "commitOid": f"{self.commits:040x}", "success": True}


@contextmanager
def hub_server() -> Iterator[Hub]:
    """Run the stand-in on a free port of this machine."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = self.path.partition("?")[0]
            # An upload's address is a secret of its own, as at the hub.
            trusted = path.startswith("/objects/") or self.headers.get("Authorization") == f"Bearer {TOKEN}"
            status, content = hub.answer(path, body) if trusted else (401, {"error": "Invalid token"})
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = _respond  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
