"""LitServe: the server's process hands each picture to one of the workers' processes, as many as BENCH_WORKERS says."""

import os
from typing import Annotated

import litserve
from fastapi import Body
from work import Work


class Detector(litserve.LitAPI):
    def setup(self, device):
        self.work = Work()

    # Without this annotation LitServe expects JSON.
    def decode_request(self, request: Annotated[bytes, Body(media_type="image/jpeg")]):
        return request

    def predict(self, picture):
        return self.work(picture)

    def encode_response(self, output):
        return output


if __name__ == "__main__":
    server = litserve.LitServer(
        Detector(api_path="/predict"),
        accelerator="cpu",
        workers_per_device=int(os.environ["BENCH_WORKERS"]),
        healthcheck_path="/healthz",
        timeout=120,
    )
    server.run(host="127.0.0.1", port=int(os.environ["BENCH_PORT"]), generate_client_file=False, log_level="warning")
