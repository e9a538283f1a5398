"""Gunicorn's settings for `barevision serve --production`: those of a VM, where the inventory can change them.

A test holds them against roles/gunicorn, which says why each is as it is.
"""

from gunicorn.arbiter import Arbiter

from barevision.serving.reload import try_reloads

workers = 1
worker_class = "barevision.serving.worker.Worker"
threads = 8
preload_app = False
timeout = 60
graceful_timeout = 30
keepalive = 2
worker_tmp_dir = "/dev/shm"
control_socket_disable = True
accesslog = None
limit_request_line = 4094
limit_request_fields = 100
limit_request_field_size = 8190


def when_ready(arbiter: Arbiter) -> None:
    try_reloads(arbiter)
