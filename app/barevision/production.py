"""Gunicorn's settings for `barevision serve --production`: those of a VM, where the inventory can change them.

A test holds them against roles/gunicorn, which says why each is as it is.
"""

workers = 1
worker_class = "barevision.worker.Worker"
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
