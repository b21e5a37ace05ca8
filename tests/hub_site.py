"""A hub on this machine that has what a test puts there."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Site:
    """A hub with files by ``/owner/model/resolve/<commit>/name``; it states hashes as a hub does of large files."""

    files: dict[str, bytes]
    states_hashes: bool = True
    asked: list[str] = field(default_factory=list)
    downloaded: list[str] = field(default_factory=list)
    endpoint: str = ""
    has_moved_on: bool = False

    def find(self, path: str) -> bytes | None:
        self.asked.append(path)
        repository, _, rest = path.strip("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        known = {COMMIT} if self.has_moved_on else {COMMIT, "main"}
        return self.files.get(name) if repository == "timm/tiny" and revision in known else None


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            site.downloaded.append(self.path.split("?")[0])
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            content = site.find(self.path.split("?")[0])
            self.send_response(404 if content is None else 200)
            if content is None:
                self.send_header("X-Error-Code", "EntryNotFound")
            body = content or b""
            tag = hashlib.sha256(body) if site.states_hashes else hashlib.sha1(body)
            self.send_header("ETag", f'"{tag.hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    site.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
