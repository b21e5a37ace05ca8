"""Jobs as the settings of a server have them: which file keeps them, and who may be told. It knows no job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topwork.errors import UsageError
from topwork.serving.jobs import Jobs
from topwork.serving.webhooks import Webhooks, read_secrets

if TYPE_CHECKING:
    from topwork.serving.settings import ServerSettings

__all__ = ["open_jobs"]


def open_jobs(settings: ServerSettings) -> Jobs | None:
    """Return the jobs of a server; None where it takes none.

    Raises
    ------
    UsageError
        A setting lacks another one, a host is none, or another process has the file.
    StorageError
        A file cannot be used.
    """
    if settings.jobs is None:
        if settings.allow_webhook:
            raise UsageError(
                "allow_webhook is for the ends of jobs; this server takes none.",
                next_step="Say with jobs: FILE where they are kept.",
            )
        return None
    return Jobs(settings.jobs, webhooks=_webhooks(settings))


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
