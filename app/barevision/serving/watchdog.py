"""systemd's watchdog, which starts the service anew should Gunicorn's own process hang.

A worker that hangs is replaced by Gunicorn, and one in which a prediction hangs ends itself. Nobody but systemd sees to
Gunicorn itself: it would replace no worker any more.
"""

from __future__ import annotations

from gunicorn.arbiter import Arbiter
from gunicorn.systemd import sd_notify

# Gunicorn looks after its workers each second.
_SILENCE_SECONDS = 60


def feed_watchdog(arbiter: Arbiter) -> None:
    """Has `arbiter` tell systemd that it goes on, each time that it has looked after its workers.

    It asks for the watchdog itself, because barevision.service also starts releases that know nothing of it.
    """
    look_after_workers = arbiter.murder_workers

    def look_and_tell() -> None:
        look_after_workers()
        sd_notify("WATCHDOG=1", arbiter.log)

    arbiter.murder_workers = look_and_tell
    sd_notify(f"WATCHDOG_USEC={_SILENCE_SECONDS * 1_000_000}", arbiter.log)
