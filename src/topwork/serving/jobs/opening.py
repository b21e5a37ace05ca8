"""Jobs as the settings of a server have them: which file keeps them, and who may be told. It knows no job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topwork.errors import UsageError
from topwork.serving.jobs.batches import Batches
from topwork.serving.jobs.jobs import Jobs
from topwork.serving.jobs.webhooks import Webhooks, read_secrets

if TYPE_CHECKING:
    from topwork.serving.jobs.batches import RunBatch
    from topwork.serving.settings.declared import ServerSettings

__all__ = ["open_jobs"]


def open_jobs(settings: ServerSettings, run_batch: RunBatch | None = None) -> Jobs | None:
    """Return the jobs of a server; None where it takes none.

    Parameters
    ----------
    run_batch
        Carries out a batch; None where this server has nothing that can.

    Raises
    ------
    UsageError
        A setting lacks another one, a host is none, or another process has the file.
    StorageError
        A file cannot be used.
    """
    if settings.jobs is None:
        for name in ("allow_webhook", "batches_below"):
            if getattr(settings, name):
                raise UsageError(
                    f"{name} is for jobs; this server takes none.",
                    next_step="Say with jobs: FILE where they are kept.",
                )
        return None
    return Jobs(settings.jobs, webhooks=_webhooks(settings), batches=_batches(settings, run_batch))


def _batches(settings: ServerSettings, run_batch: RunBatch | None) -> Batches | None:
    if not settings.batches_below or run_batch is None:
        return None
    for folder in settings.batches_below:
        if not folder.is_dir():
            raise UsageError(
                f"batches_below names {folder}, which is no folder.",
                next_step="Make it, or name another one.",
            )
    return Batches(settings.batches_below, run_batch)


def _webhooks(settings: ServerSettings) -> Webhooks | None:
    if not settings.allow_webhook:
        return None
    if settings.webhook_secret is None:
        raise UsageError(
            "allow_webhook names hosts, but no webhook_secret says what signs what they are told.",
            next_step="Give a file with webhook_secret: FILE; it holds whsec_ and 24 to 64 random bytes in base64.",
        )
    read_secrets(settings.webhook_secret)  # a mistake in it is told now
    return Webhooks(settings.allow_webhook, settings.webhook_secret)
