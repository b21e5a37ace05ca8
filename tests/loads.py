"""Clients without a pause against a server over HTTP, for tests that change the server meanwhile."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Load:
    """Clients in threads of their own.

    ``paths`` are asked by turns with ``body``; ``who`` tells from the JSON of an answer who gave it. Of ``n_clients``
    every second one opens a connection for each request where ``reconnects``, the others keep theirs.
    """

    url: str
    key: str
    paths: tuple[str, ...] = ("/predict",)
    body: bytes = b"abc"
    who: Callable[[Any], str] = lambda said: str(said["model"])
    n_clients: int = 6
    reconnects: bool = True
    seen: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def _client(self, keeps: bool) -> None:
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=60)
        while not self.over.is_set():
            for path in self.paths:
                self._ask(connection, path)
                if not keeps:
                    connection.close()
        connection.close()

    def _ask(self, connection: http.client.HTTPConnection, path: str) -> None:
        try:
            connection.request("POST", path, body=self.body, headers={"x-api-key": self.key})
            answer = connection.getresponse()
            content = answer.read()
            if answer.status == 200:
                self.seen[self.who(json.loads(content))] += 1
            else:
                self.failed.append(f"{answer.status} {content!r}")
        except Exception as error:
            self.failed.append(repr(error))

    @contextmanager
    def running(self) -> Iterator[None]:
        keeps = [not self.reconnects or i % 2 == 0 for i in range(self.n_clients)]
        threads = [threading.Thread(target=self._client, args=(one,)) for one in keeps]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.over.set()
            for thread in threads:
                thread.join(60)

    def until(self, holds: Callable[[], bool]) -> None:
        last = time.monotonic() + 120
        while not holds():
            assert time.monotonic() < last, f"{self.seen}, {self.failed[:3]}"
            time.sleep(0.005)

    def answers(self, name: str, n: int = 5) -> None:
        """Wait until somebody has answered some more."""
        wanted = self.seen[name] + n
        self.until(lambda: self.seen[name] >= wanted)
