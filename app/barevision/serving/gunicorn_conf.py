"""Gunicorn's settings, on a VM and for `barevision serve --production`.

An inventory can change `timeout` and `graceful_timeout`: barevision.service gives those two as options, which Gunicorn
prefers to this file. There is no `bind`, because systemd (barevision.socket) or the command line opens
the socket and hands it over. Gunicorn reads this file by its path rather than as a module, so that nothing of the
package is imported before the paths below are changed.
"""

import os
import resource
import shutil
import sys
import tempfile

from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

# The service is started in a folder whose path contains the link to the current release. After the link has moved to
# another release, a new worker must still load the code of its own. So modules are looked for in paths without links.
chdir = os.path.realpath(".")
sys.path[:] = [os.path.realpath(path) if path else path for path in sys.path]

# One process to begin with, whose threads share the model: engines release Python's lock while they compute. It says
# once it has its model whether there should be more (serving/more_workers.py).
# Default: 1
workers = 1
# Gunicorn's gthread, except that an answer is sent in one piece: a worker that dies sends no half answer.
# Default: sync
worker_class = "barevision.serving.worker.Worker"
# Threads that answer health checks and the like. The worker has others for predictions, and for refusals.
# Default: 1
threads = 2
# Connections at once, waiting ones included.
# Default: 1000
worker_connections = 2000
# Each is an open file. The unit allows as many; a shell allows 1024 unless asked.
if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 2 * worker_connections:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 2 * worker_connections
    resource.setrlimit(resource.RLIMIT_NOFILE, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
# The model is loaded after the fork, because a runtime's own threads do not survive one.
# Default: False
preload_app = False

# Seconds without a sign of life after which a worker is replaced. Threads that compute do not delay it.
# Default: 30
timeout = 60
# Seconds that requests may take to finish while the service stops.
# Default: 30
graceful_timeout = 30
# Seconds that an idle connection stays open. NGINX opens one for each request and closes it itself.
# Default: 2
keepalive = 2

# Workers show their sign of life in memory, because a slow disk could make them look dead.
# Default: None, the temporary folder
worker_tmp_dir = "/dev/shm"
# Nothing uses Gunicorn's control socket, and the unit's sandbox forbids it.
# Default: False
control_socket_disable = True

# The app itself logs each request, with the ID that NGINX logs and answers too.
# Default: None, no access log
accesslog = None

# The largest request line, number of headers and header. The app limits the body.
# Default: 4094, 100, 8190
limit_request_line = 4094
limit_request_fields = 100
limit_request_field_size = 8190


# Modules of the package are imported only here: one that is imported before the paths were changed would keep a path
# with a link.


def on_starting(arbiter: Arbiter) -> None:
    """Makes room for what workers know of each other and count together. Gunicorn calls it once."""
    from barevision.processes import Processes

    arbiter.processes = Processes()
    # Prometheus' client names the variable.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix=f"barevision-{os.getpid()}-", dir=worker_tmp_dir)


def when_ready(arbiter: Arbiter) -> None:
    """Makes every reload try its model first, and systemd start all anew should this process hang.

    Gunicorn calls it once, in the process that receives the signals.
    """
    from barevision.serving.more_workers import keep_as_many_as_wanted
    from barevision.serving.reload import try_reloads
    from barevision.serving.watchdog import feed_watchdog

    try_reloads(arbiter)
    keep_as_many_as_wanted(arbiter)
    feed_watchdog(arbiter)


def pre_fork(arbiter: Arbiter, worker: Worker) -> None:
    """Gives a worker its place among the others."""
    worker.process = arbiter.processes.join()


def child_exit(arbiter: Arbiter, worker: Worker) -> None:
    """Frees the place of a worker that ended."""
    arbiter.processes.leave(worker.process)


def on_exit(arbiter: Arbiter) -> None:
    """Removes the counts."""
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)
