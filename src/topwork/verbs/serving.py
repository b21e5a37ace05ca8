"""`serve`: a bundle in, an HTTP API out, until somebody stops it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from topwork.bundle.model import open_model
from topwork.contracts import Wire
from topwork.serving.access import Access, open_door
from topwork.serving.app import application
from topwork.serving.limits import Limits
from topwork.serving.server import run
from topwork.steps.options import Surroundings

__all__ = ["serve"]


def serve(
    bundle: str | Path,
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
    host, port
        Where to listen; the default cannot be reached from another machine, port 0 takes a free one.
    only
        Targets to answer for, in place of all: answers, schema, page and proof hold these, and the heads of the others
        are not computed.
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
    chosen = access or Access()
    door = open_door(chosen, host, limits or Limits())  # before the bundle is opened, which takes longer
    names = (only,) if isinstance(only, str) else tuple(only)
    model = open_model(Path(bundle), engine=around.engine if around else "auto", only=names)
    bounds = limits or Limits(max_concurrent=model.engine.n_streams)
    app = application(model, bounds, door=door, origins=chosen.origins)
    run(app, host, port=port, on_ready=lambda url: on_ready(url, model.wire))
