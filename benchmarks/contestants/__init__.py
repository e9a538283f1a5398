"""Who is measured, and how each is started. Its modules run in the contestants' environments, this one does not."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE, Popen
from typing import NamedTuple

from benchmarks import load, processes
from benchmarks.environments import BUILD, ROOT, made
from benchmarks.networks import MODELS, MissingError, Network
from tests.support.nginx import write_nginx_conf

CORES = len(os.sched_getaffinity(0))
_HERE = Path(__file__).parent
_SECONDS_TO_START = 180


class Arithmetic(NamedTuple):
    """What computes, with which numbers. Barevision alone has "auto", which is its own choice."""

    engine: str
    precision: str

    def __str__(self) -> str:
        return self.engine if self.engine == self.precision else f"{self.engine} {self.precision}"


class Tuning(NamedTuple):
    """How a contestant uses the cores: `processes`, in each `streams` inferences at once, of `threads` cores each."""

    processes: int
    streams: int
    threads: int

    def __str__(self) -> str:
        return f"{self.processes} x {self.streams} x {self.threads}"


_ONE_PROCESS = (Tuning(1, 1, CORES), Tuning(1, CORES, 1)) if CORES > 1 else (Tuning(1, 1, 1),)
_PROCESSES = tuple(dict.fromkeys((Tuning(1, 1, CORES), Tuning(CORES, 1, 1))))
_ALL = tuple(dict.fromkeys((*_ONE_PROCESS, *_PROCESSES)))
# Barevision finds its own.
_OWN = (Tuning(1, CORES, 1),)

_TUTORIALS = (Arithmetic("opencv", "f32"),)
# More threads of a loop only fight for the cores, and the tutorial's server needs minutes to answer more at once.
_FEW = 8


@dataclass
class Running:
    """A contestant that was started.

    :ivar url: where pictures are sent; None for what speaks no HTTP, which `ask` asks.
    :ivar pids: its processes now.
    :ivar ready_seconds: from its start until it said that it is ready.
    :ivar health: what says that it lives.
    """

    pids: Callable[[], list[int]]
    ready_seconds: float
    url: str | None = None
    ask: Callable[[dict], list] | None = None
    health: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Contestant:
    """A server, or a loop without one.

    :ivar environment: of `environments`.
    :ivar command: behind the environment's bin/; {port}, {processes}, {streams} and {server_threads} are filled in.
    :ivar tunings: what is tried; the fastest is kept.
    :ivar mode: "server", "loop", or "barevision".
    :ivar most_clients: it is not asked by more at once.
    """

    name: str
    arithmetics: tuple[Arithmetic, ...]
    tunings: tuple[Tuning, ...]
    mode: str
    environment: str = "flask"
    command: str = ""
    health: str = "/healthz"
    most_clients: int = 128


def contestants(carried: set[str]) -> list[Contestant]:
    """All of them.

    :param carried: the precisions beside f32 that this processor and this Barevision carry, such as {"bf16", "int8"}.
    """
    half = Arithmetic("openvino", "bf16" if "bf16" in carried else "f32")
    peers = (Arithmetic("onnxruntime", "f32"), half)
    # f32 on both, because f32 has to be as fast as the better of the two.
    loops = tuple(dict.fromkeys((*peers, Arithmetic("openvino", "f32"))))
    int8 = (Arithmetic("openvino", "int8"),) if "int8" in carried else ()
    gunicorn = "gunicorn --chdir {here} --bind 127.0.0.1:{port} --timeout 120 --backlog 2048 --workers {processes} "
    return [
        Contestant("network alone", loops + int8, _ONE_PROCESS, "loop", command="network", most_clients=_FEW),
        Contestant("bare loop", loops + int8, _ONE_PROCESS, "loop", command="work", most_clients=_FEW),
        Contestant(
            "barevision", (Arithmetic("auto", "auto"), *peers, *int8), _OWN, "barevision", health="/healthz /metrics"
        ),
        Contestant(
            "flask gthread", peers, _ALL, "server", "flask",
            gunicorn + "--worker-class gthread --threads {server_threads} flask_server:app",
        ),
        Contestant(
            "flask sync", peers, _PROCESSES, "server", "flask", gunicorn + "--worker-class sync flask_server:app",
        ),
        Contestant(
            "fastapi", peers, _ALL, "server", "fastapi",
            "uvicorn --app-dir {here} --host 127.0.0.1 --port {port} --workers {processes} --no-access-log "
            "--log-level warning fastapi_server:app",
        ),
        Contestant("litserve", peers, _PROCESSES, "server", "litserve", "python {here}/litserve_server.py"),
        Contestant(
            "bentoml", peers, _ALL, "server", "bentoml",
            "bentoml serve --working-dir {here} --host 127.0.0.1 --port {port} --timeout 120 bentoml_server:Detector",
            "/livez",
        ),
        Contestant("opencv loop", _TUTORIALS, (_ONE_PROCESS[0],), "loop", "opencv4", "darknet", most_clients=_FEW),
        Contestant(
            "tutorial", _TUTORIALS, _PROCESSES, "server", "opencv4", gunicorn + "tutorial:app", most_clients=_FEW
        ),
    ]  # fmt: skip


@contextmanager
def running(
    contestant: Contestant, network: Network, arithmetic: Arithmetic, tuning: Tuning, inventory: Path | None
) -> Iterator[Running]:
    """The contestant, started and ready; ended with the context.

    :param inventory: of the lab whose machine Barevision is deployed on; None to start it here.
    :raises MissingError: the network isn't for this contestant, or its environment can't be made.
    :raises RuntimeError: it doesn't start.
    """
    log = BUILD / "logs" / f"{contestant.name}-{arithmetic}-{network.name}.log".replace(" ", "-")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    with ExitStack() as stack:
        if contestant.mode == "barevision" and inventory:
            # Imported here because it needs this module.
            from benchmarks.lab import deployed

            yield stack.enter_context(deployed(network, arithmetic, inventory, log))
            return
        if contestant.mode == "barevision":
            yield stack.enter_context(_barevision(network, arithmetic, log))
            return
        try:
            python = made(contestant.environment)
        except RuntimeError as error:
            raise MissingError(f"{contestant.name}: {error}") from error
        environment = _environment(network, arithmetic, tuning)
        if contestant.mode == "loop":
            command = [python, _HERE / "loop.py", contestant.command]
            start = time.monotonic()
            process = stack.enter_context(processes.started(command, environment, log, stdin=PIPE, stdout=PIPE))
            _answer(process, log)
            yield Running(
                lambda: processes.family(process.pid),
                time.monotonic() - start,
                ask=lambda order: _asked(process, order, log),
            )
            return
        port = free_port()
        environment |= {"BENCH_PORT": str(port)}
        words = contestant.command.format(
            here=_HERE, port=port, processes=tuning.processes, server_threads=environment["BENCH_SERVER_THREADS"]
        ).split()
        start = time.monotonic()
        command = [python.with_name(words[0]), *words[1:]]
        process = stack.enter_context(processes.started(command, environment, log, cwd=BUILD))
        ready = _wait_until_ready(f"127.0.0.1:{port}", contestant.health, [process], log, start)
        yield Running(
            lambda: processes.family(process.pid),
            ready,
            f"http://127.0.0.1:{port}/predict",
            health=contestant.health.split(),
        )


def _environment(network: Network, arithmetic: Arithmetic, tuning: Tuning) -> dict[str, str]:
    """What tells a contestant its task; see contestants/work.py and tutorial.py."""
    task = {
        "network": str(network.path),
        "labels": network.labels,
        "head": network.head,
        "size": network.size,
        "engine": arithmetic.engine,
        "precision": arithmetic.precision,
        "streams": tuning.streams,
        "threads": tuning.threads,
    }
    if arithmetic.engine == "opencv":
        if not network.darknet:
            raise MissingError("OpenCV's importer and the tutorial read Darknet networks only")
        task |= dict(zip(("cfg", "weights"), map(str, network.darknet), strict=True))
    return {
        "BENCH_TASK": json.dumps(task),
        "BENCH_WORKERS": str(tuning.processes),
        # One to receive, decode or answer beside each that computes.
        "BENCH_SERVER_THREADS": str(2 * tuning.streams),
        "PYTHONPATH": f"{_HERE}:{ROOT / 'app'}",
        "ORT_DISABLE_TELEMETRY": "1",
        "BENTOML_DO_NOT_TRACK": "True",
        "DO_NOT_TRACK": "1",
    }


@contextmanager
def _barevision(network: Network, arithmetic: Arithmetic, log: Path) -> Iterator[Running]:
    """Barevision as the roles set it up, but on this machine: their unit's command and environment on a socket that is
    open already, as systemd's, behind NGINX with their site.
    """
    # Imported here because Ansible takes a second.
    from tests.roles.rendering import Site, unit_values

    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    if not nginx:
        raise MissingError("barevision: NGINX isn't installed ('apt-get install nginx-light', as root)")
    folder, port = BUILD / "barevision", free_port()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "socket"
    path.unlink(missing_ok=True)
    site = Site(gunicorn_socket=str(path), nginx_port=port)
    unit = site.render("gunicorn", "etc/systemd/system/barevision.service")
    chosen = {} if arithmetic.engine == "auto" else {
        "BAREVISION_ENGINE": arithmetic.engine,
        "BAREVISION_PRECISION": arithmetic.precision,
    }  # fmt: skip
    environment = {
        **dict(line.split("=", 1) for line in unit_values(unit, "Environment")),
        **chosen,
        "BAREVISION_MODEL": network.reference,
        "BAREVISION_MODELS_DIR": str(MODELS),
        "PYTHONPATH": str(ROOT / "app"),
    }
    # There is no such file here: what it would say stands in the environment.
    environment.pop("BAREVISION_SETTINGS_FILE", None)
    prepare = [sys.executable, "-m", "barevision", "models", "prepare", network.reference]
    with processes.started(prepare, environment, log) as preparing:
        if preparing.wait() != 0:
            raise RuntimeError(f"barevision models prepare failed: {log.read_text()[-1000:]}")
    # At 400 % of the capacity, many requests are open at once.
    conf = write_nginx_conf(folder, site.render("nginx", "etc/nginx/sites-available/barevision"), 4096)
    with socket.socket(socket.AF_UNIX) as listener, ExitStack() as stack:
        listener.bind(str(path))
        listener.listen(2048)
        front = stack.enter_context(processes.started([nginx, "-c", conf], {}, log))
        (line,) = unit_values(unit, "ExecStart")
        command = [sys.executable, *line.split()[1:], "--bind", f"fd://{listener.fileno()}"]
        start = time.monotonic()
        app = stack.enter_context(
            processes.started(command, environment, log, cwd=ROOT / "app", pass_fds=[listener.fileno()])
        )
        ready = _wait_until_ready(f"127.0.0.1:{port}", "/readyz", [app, front], log, start)
        yield Running(
            lambda: [*processes.family(app.pid), *processes.family(front.pid)],
            ready,
            f"http://127.0.0.1:{port}/predict",
            health=["/healthz", "/metrics"],
        )


def _wait_until_ready(host: str, paths: str, started: Sequence[Popen], log: Path, start: float) -> float:
    """The seconds since `start` until the first of `paths` is answered with 200."""
    while load.get(host, paths.split()[0]) != 200:
        if any(process.poll() is not None for process in started) or time.monotonic() - start > _SECONDS_TO_START:
            raise RuntimeError(f"it doesn't start; {log} says: {log.read_text()[-2000:]}")
        time.sleep(0.02)
    return time.monotonic() - start


def _asked(process: Popen, order: dict, log: Path) -> list:
    process.stdin.write(json.dumps(order) + "\n")
    process.stdin.flush()
    return _answer(process, log)


def _answer(process: Popen, log: Path) -> list:
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"it ended; {log} says: {log.read_text()[-2000:]}")
    return json.loads(line)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
