"""The same work without HTTP: threads that ask as soon as they are answered. Orders come on stdin, a line of JSON each.

    BENCH_TASK=... python loop.py work|network|darknet

work: all of a request's work; network: the inference alone, on random numbers; darknet: the tutorial's work with a
network that is loaded once. Prints {} once it is ready, then for each order

- {"picture": path, "clients": n, "seconds": s}: [[start in microseconds since 1970, 200, microseconds], ...], as h2load
- {"answers": [path, ...]}: what is answered for each picture
"""

import json
import sys
import threading
import time
from pathlib import Path

import numpy as np


def main() -> None:
    """Loads what is to be run, and obeys."""
    predict = {"work": load_work, "network": load_inference, "darknet": load_darknet}[sys.argv[1]]()
    print("{}", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        if "answers" in order:
            answer = [predict(Path(path).read_bytes()) for path in order["answers"]]
        else:
            answer = asked(predict, Path(order["picture"]).read_bytes(), order["clients"], order["seconds"])
        print(json.dumps(answer), flush=True)


def load_work():
    from work import Work

    return Work()


def load_inference():
    from work import Work

    work = Work()
    blob = np.random.default_rng(0).random((1, 3, *work.task["size"]), np.float32)

    def predict(picture: bytes) -> list[dict]:
        work.infer(blob)
        return []

    return predict


def load_darknet():
    import tutorial

    network, lock = tutorial.load_network(), threading.Lock()

    def predict(picture: bytes) -> list[dict]:
        # Threads that use a network of OpenCV's at once get each other's boxes.
        with lock:
            return tutorial.detect(network, picture)

    return predict


def asked(predict, picture: bytes, clients: int, seconds: float) -> list[list[int]]:
    """What `clients` threads saw that ask for `seconds`; what was not answered until the end doesn't count."""
    seen, end = [], time.time() + seconds

    def client() -> None:
        while (start := time.time()) < end:
            predict(picture)
            seen.append([int(start * 1e6), 200, int((time.time() - start) * 1e6)])

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [row for row in seen if row[0] + row[2] <= end * 1e6]


if __name__ == "__main__":
    main()
