"""A real server in a thread of this process, for tests that come to it over HTTP."""

from __future__ import annotations

import asyncio
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from topwork.serving.http.served import Served
from topwork.serving.server import listen, url_of

__all__ = ["serving"]


@contextmanager
def serving(app: Served) -> Iterator[str]:
    """Serve an application, and give its URL once its models are ready."""
    from topwork.serving.http.http11 import server

    with listen("127.0.0.1", 0) as listener:
        one = server(app)
        thread = threading.Thread(target=lambda: asyncio.run(one.serve(sockets=[listener])))
        thread.start()
        try:
            _await(url_of(listener))
            yield url_of(listener)
        finally:
            one.should_exit = True
            thread.join(20)


def _await(url: str) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with suppress(OSError), urllib.request.urlopen(f"{url}/readyz", timeout=5):
            return
        time.sleep(0.02)
    raise TimeoutError(f"{url} was never ready")
