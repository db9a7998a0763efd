# SPDX-License-Identifier: GPL-3.0-or-later
"""A small server on loopback that speaks the part of the Hugging Face hub's API which fetching needs, and fails on request."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = 2000
"""Files from this size on are LFS files with a SHA-256, as at the hub; smaller ones have Git's own sum."""


class Hub:
    """Repositories in memory. `gated` needs the token; `cut` ends each answer after so many bytes of a file, `cuts` times;
    `slow` is a pause for each 64 KiB; `ignore_range` serves whole files always; `claimed` replaces the sizes it tells."""

    token = "hf_testtesttesttesttesttesttest"

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, bytes]] = {}
        self.gated: set[str] = set()
        self.cut, self.cuts, self.slow, self.ignore_range, self.claimed = None, 0, 0.0, False, None
        self.served: list[tuple[str, int, int]] = []
        self.tokens: set[str] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        """For HF_ENDPOINT."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def add(self, repo: str, folder: Path) -> None:
        """Offer the files of a folder."""
        files = (path for path in sorted(folder.rglob("*")) if path.is_file())
        self.repos[repo] = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

    def bytes_served(self, name: str) -> int:
        """How many bytes of a file were sent in all."""
        return sum(count for path, _, count in self.served if path.endswith(name))

    def close(self) -> None:
        """Answer nobody any more."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer the two questions that fetching asks."""
        self.hub.tokens.add(self.headers.get("Authorization", "").removeprefix("Bearer "))
        path = self.path.split("?")[0].strip("/")
        if path.startswith("api/models/"):
            repo = path.removeprefix("api/models/").split("/revision/")[0]
            return self._info(repo) if self._allowed(repo) else None
        repo, _, rest = path.partition("/resolve/")
        if self._allowed(repo):
            self._file(repo, rest.partition("/")[2])

    def do_HEAD(self) -> None:
        """Is there a file? Not here: what asks for one file of a repository asks so first."""
        repo = self.path.split("?")[0].strip("/").partition("/resolve/")[0]
        if self._allowed(repo):
            self._refuse(404, "EntryNotFound")

    def _allowed(self, repo: str) -> bool:
        if repo not in self.hub.repos:
            self._refuse(404, "RepoNotFound")
        elif repo in self.hub.gated and self.hub.token not in self.headers.get("Authorization", ""):
            self._refuse(401, "GatedRepo")
        return repo in self.hub.repos and (repo not in self.hub.gated or self.hub.token in self.headers.get("Authorization", ""))

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _info(self, repo: str) -> None:
        siblings = [_sibling(path, data, self.hub.claimed) for path, data in self.hub.repos[repo].items()]
        answer = {"id": repo, "modelId": repo, "sha": COMMIT, "siblings": siblings, "cardData": {"license": "cc0-1.0"}}
        body = json.dumps(answer | {"tags": [], "private": False, "downloads": 0}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _file(self, repo: str, path: str) -> None:
        data = self.hub.repos[repo][path]
        start = 0 if self.hub.ignore_range else int(self.headers.get("Range", "bytes=0-")[6:].split("-")[0])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        self._send(path, data, start)

    def _send(self, path: str, data: bytes, start: int) -> None:
        end = len(data)
        if self.hub.cut and self.hub.cuts and end - start > self.hub.cut:
            end, self.hub.cuts = start + self.hub.cut, self.hub.cuts - 1
        sent = start
        try:
            while sent < end:
                block = data[sent : min(sent + 65536, end)]
                self.wfile.write(block)
                sent += len(block)
                time.sleep(self.hub.slow)
        except OSError:
            pass
        self.hub.served.append((path, start, sent - start))
        self.close_connection = sent < len(data)


def _sibling(path: str, data: bytes, claimed: int | None) -> dict:
    git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    size = len(data) if claimed is None else claimed
    entry = {"rfilename": path, "size": size, "blobId": git}
    if len(data) >= LARGE:
        entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": size, "pointerSize": 130}
    return entry
