"""The commands under `topwork keys`. It knows no hash and no file's form."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from topwork.cli.lines import put, put_json, put_table, say
from topwork.cli.options import STYLE, Json, path_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from topwork.serving.http.keys import Key, KeyScope

__all__ = ["keys_app"]

keys_app = typer.Typer(help="API keys of a server.", **STYLE)

SCOPE_WORDS: Final = ("predict", "admin", "metrics", "both", "all")
KeysFile = Annotated[
    Path | None,
    typer.Option(
        "--keys", metavar="FILE", parser=path_of, help="File of API keys.", show_default="the user's own"
    ),
]


def _scope(word: str) -> str:
    if word not in SCOPE_WORDS:
        raise typer.BadParameter(f"{word!r} is not one of {', '.join(map(repr, SCOPE_WORDS))}.")
    return word


@keys_app.command("create", epilog="Example:  topwork keys create phone --expires 90d --per-minute 60")
def keys_create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who will use it.")],
    scope: Annotated[
        list[str],
        typer.Option(
            parser=_scope,
            metavar=f"[{'|'.join(SCOPE_WORDS)}]",
            help="What it is good for; repeat it for several.",
        ),
    ] = ["predict"],  # noqa: B006 - it is read alone
    expires: Annotated[
        str,
        typer.Option(metavar="WHEN", help="After 12h, 90d or 8w, on a day such as 2027-01-31, or never."),
    ] = "never",
    per_minute: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Requests in a minute.", show_default="no limit"),
    ] = None,
    keys: KeysFile = None,
    json: Json = False,
) -> None:
    """Make a key and show it, this once."""
    from datetime import UTC, datetime

    from topwork.cli.sources import expiry_of
    from topwork.serving.http.keyring import Wish, create

    now = datetime.now(UTC)
    path = _path(keys)
    wish = Wish(name, _scopes(scope), expiry_of(expires, now), per_minute)
    text, key = create(path, wish, now=now)
    if json:
        put_json({"schema": 1, "key": text, **_shown(key, now), "file": str(path)})
        return
    put(text)
    say(f"This is the key of {key.name}, shown this once; {path} keeps its hash alone.")
    say(f"  good for   {' and '.join(key.scopes)}, {_until(key)}, {_rate(key)}")
    say("  send it    as the header `Authorization: Bearer KEY`")
    say(f"  serve      topwork serve BUNDLE --keys {path}")


@keys_app.command("list")
def keys_list(keys: KeysFile = None, json: Json = False) -> None:
    """List them: prefix, name, what each is good for."""
    from datetime import UTC, datetime

    from topwork.serving.http.keyring import read_keys

    path, now = _path(keys), datetime.now(UTC)
    found = list(read_keys(path).values()) if path.exists() else []
    if json:
        put_json([_shown(key, now) for key in found])
        return
    if found:
        head = ["prefix", "name", "scopes", "created", "expires", "per minute"]
        put_table([head, *(_row(key, now) for key in found)])
    else:
        say(f"There are no keys in {path}. Make one with: topwork keys create NAME")


@keys_app.command("revoke", epilog="Example:  topwork keys revoke phone")
def keys_revoke(
    which: Annotated[str, typer.Argument(metavar="NAME", help="Name or prefix, as keys list shows it.")],
    keys: KeysFile = None,
) -> None:
    """End a key at once, on running servers too."""
    from topwork.serving.http.keyring import revoke

    gone = revoke(_path(keys), which)
    put(f"The key {gone.prefix} of {gone.name} is no longer good.")


def _scopes(words: Sequence[str]) -> tuple[KeyScope, ...]:
    from topwork.serving.http.keys import SCOPES

    meant = {"both": ("predict", "admin"), "all": SCOPES}
    wanted = {scope for word in words for scope in meant.get(word, (word,))}
    return tuple(scope for scope in SCOPES if scope in wanted)


def _path(chosen: Path | None) -> Path:
    from topwork.storage import keys_file

    return chosen or keys_file()


def _shown(key: Key, now: datetime) -> dict[str, Any]:
    return {
        "prefix": key.prefix,
        "name": key.name,
        "scopes": list(key.scopes),
        "created": key.created.isoformat(),
        "expires": key.expires.isoformat() if key.expires else None,
        "expired": key.expired(now),
        "per_minute": key.per_minute,
    }


def _row(key: Key, now: datetime) -> list[str]:
    until = key.expires.isoformat(timespec="minutes") if key.expires else "never"
    return [
        key.prefix,
        key.name,
        ", ".join(key.scopes),
        key.created.isoformat(timespec="minutes"),
        f"{until} (over)" if key.expired(now) else until,
        str(key.per_minute or "no limit"),
    ]


def _until(key: Key) -> str:
    return f"until {key.expires.isoformat(timespec='minutes')}" if key.expires else "until it is revoked"


def _rate(key: Key) -> str:
    return f"{key.per_minute} requests in a minute" if key.per_minute else "as often as one likes"
