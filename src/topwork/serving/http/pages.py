"""What a person sees: static pages from the package, with the headers that keep them to themselves.

It knows no model; a page asks the API for everything it shows. Style and script stand inside the page,
and the content security policy names their hashes, so that nothing else ever runs in it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files

from topwork.serving.http.messages import Response

__all__ = ["page"]

SHARED = {b"/* theme */": "theme.css", b"/* keys */": "keys.js"}
"""What stands in several pages, by what stands for it in their files."""
KEPT = {
    "cache-control": "no-cache",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "x-frame-options": "DENY",
}
INLINE = re.compile(rb"<(style|script)>(.*?)</\1>", re.DOTALL)


def page(name: str) -> Response:
    """Read a page of the package."""
    folder = files("topwork.serving") / "page"
    html = (folder / f"{name}.html").read_bytes()
    for mark, file in SHARED.items():
        html = html.replace(mark, (folder / file).read_bytes())
    return Response(200, "text/html; charset=utf-8", html, {"content-security-policy": _policy(html), **KEPT})


def _policy(html: bytes) -> str:
    hashes: dict[bytes, list[str]] = {b"style": [], b"script": []}
    for kind, content in INLINE.findall(html):
        digest = base64.b64encode(hashlib.sha256(content).digest()).decode("ascii")
        hashes[kind].append(f"'sha256-{digest}'")
    return (
        f"default-src 'none'; style-src {' '.join(hashes[b'style'])}; script-src {' '.join(hashes[b'script'])}; "
        "img-src blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
