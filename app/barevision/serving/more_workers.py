"""As many workers as the model needs, which each says once it has loaded it."""

from __future__ import annotations

from gunicorn.arbiter import Arbiter


def keep_as_many_as_wanted(arbiter: Arbiter) -> None:
    """Has `arbiter`, which looks after its workers each second, keep as many as they want (`Numbers.wanted`).

    Signals that would change their number, SIGTTIN and SIGTTOU, change it for no longer than that.
    """
    look_after_workers = arbiter.murder_workers

    def look_and_count() -> None:
        look_after_workers()
        if arbiter.num_workers != (wanted := _wanted(arbiter)):
            arbiter.num_workers = wanted

    arbiter.murder_workers = look_and_count


def _wanted(arbiter: Arbiter) -> int:
    """How many the oldest worker wants that knows. At the start, and after a reload, the first one loads on its own.

    What no one has measured yet is measured by that one, and a later one may run the model otherwise, in need.
    """
    # Each reload makes another configuration.
    workers = [worker for worker in arbiter.WORKERS.values() if worker.cfg is arbiter.cfg]
    known = (worker.process.numbers.wanted for worker in sorted(workers, key=lambda worker: worker.age))
    return next(filter(None, known), 1)
