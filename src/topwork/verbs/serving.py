"""`serve`: a bundle in, an HTTP API out, until somebody stops it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from pathlib import Path

from topwork.completions import speak
from topwork.contracts import Wire
from topwork.serving.hangups import Hangups
from topwork.serving.http.access import Access
from topwork.serving.limits import Limits
from topwork.serving.server import run
from topwork.serving.settings.declared import ModelSettings, ServerSettings
from topwork.serving.settings.file import read_settings
from topwork.serving.settings.flags import with_flags
from topwork.serving.succession import Changes, Succession
from topwork.serving.watching.logs import written
from topwork.serving.watching.telemetry import telemetry
from topwork.steps.options import Surroundings
from topwork.verbs.replicating import StaffedOpener
from topwork.verbs.served_batches import run_served

__all__ = ["operate", "reader", "serve"]

LOG = logging.getLogger("topwork.serving")


def serve(
    bundle: str | Path | ModelSettings,
    host: str = "127.0.0.1",
    *,
    port: int = 8000,
    limits: Limits | None = None,
    only: str | Sequence[str] = (),
    access: Access | None = None,
    on_ready: Callable[[str, Wire], None] = lambda _, __: None,
    around: Surroundings | None = None,
) -> None:
    """Serve a bundle over HTTP until SIGTERM or Ctrl-C.

    Parameters
    ----------
    bundle
        A bundle's file; or the settings of a model, which may be a trunk, a chain, or have your own code around it.
    host, port
        Where to listen; the default cannot be reached from another machine, port 0 takes a free one.
    only
        Targets of a bundle's file to answer for, in place of all: answers, schema, page and proof hold these, and the
        heads of the others are not computed.
    access
        Who may ask; by default everybody who is on this machine, and elsewhere whoever has a key.
    on_ready
        Called with the URL, and with how an input travels, once the model has passed its proof.

    Raises
    ------
    BundleError
        The bundle is damaged, tampered with or too new.
    ProofError
        It gives other answers than at the time of its fit; the server has ended.
    UsageError
        The port is taken, there is no such target, or others could reach the server and there are no keys.
    """
    names = (only,) if isinstance(only, str) else tuple(only)
    one = (
        bundle
        if isinstance(bundle, ModelSettings)
        else ModelSettings(Path(bundle), only=names, engine=around.engine if around else "auto")
    )
    chosen = access or Access()
    settings = ServerSettings(
        (one,),
        host,
        port,
        keys=chosen.keys,
        no_keys=chosen.no_keys,
        allow_origin=chosen.origins,
        allow_host=chosen.hosts,
        limits=limits or Limits(),
    )
    operate(lambda: settings, on_ready=lambda url, wire, _: on_ready(url, wire), around=around)


def reader(
    config: Path | None, bundles: Sequence[Path], flags: Mapping[str, object]
) -> Callable[[], ServerSettings]:
    """Return what gives the settings as they are whenever it is called: those of a file, under flags."""

    def read() -> ServerSettings:
        return with_flags(read_settings(config) if config else ServerSettings(), bundles, flags)

    return read


def operate(
    read: Callable[[], ServerSettings],
    *,
    on_ready: Callable[[str, Wire, Path | None], None] = lambda _, __, ___: None,
    on_change: Callable[[Changes], None] = lambda _: None,
    on_hangup: bool = False,
    around: Surroundings | None = None,
) -> None:
    """Serve by settings that may change meanwhile, until SIGTERM or Ctrl-C.

    Parameters
    ----------
    read
        Gives the settings as they are now; called again by ``POST /v1/admin/reload``.
    on_ready
        Called with the URL, how an input of the first model travels, and the file of the keys that are asked for, once
        every model has passed its proof.
    on_change
        Called with what changed whenever settings were applied again. Where the log is JSON this and ``on_ready`` are
        lines of it in place of calls, so that standard error holds nothing else.
    on_hangup
        Whether SIGHUP has them applied again, as well.
    around
        Where weights are kept.

    Raises
    ------
    TopworkError
        As of `serve`, or the settings cannot be served by.
    """
    collector = telemetry(os.environ)  # whose mistakes are told before models are opened
    hangups = Hangups() if on_hangup else None
    opener = StaffedOpener(around or Surroundings(), Path.cwd())

    def changed(changes: Changes) -> None:
        opener.take(succession.settings.limits)
        if in_lines:
            LOG.info("settings applied: %s", changes.to_json())
        else:
            on_change(changes)

    succession = Succession(
        read, opener, on_change=changed, hangups=hangups, run_batch=run_served, dialects=[speak]
    )
    opener.take(succession.settings.limits)
    settings, succession.app.spans = succession.settings, collector
    in_lines = settings.log_format == "json"
    # Not the model itself, which may be left out one day.
    wire = next(iter(succession.app.models.values())).servable.wire
    keyring = succession.app.door.keyring
    keys = keyring.path if keyring is not None else None

    def ready(url: str) -> None:
        if in_lines:
            LOG.info("ready at %s", url)
        else:
            on_ready(url, wire, keys)

    with written(settings.log_format, sys.stderr), nullcontext() if collector is None else closing(collector):
        run(
            succession.app,
            settings.host,
            port=settings.port,
            on_ready=ready,
            succession=succession,
        )
