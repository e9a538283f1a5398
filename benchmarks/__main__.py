"""All servers side by side, in one run: `python -m benchmarks NAME`. docs/benchmarks/README.md says how to read it."""

from __future__ import annotations

import argparse
import resource
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from barevision.engines.processor import this_processor
from barevision.errors import ModelError, QuantizingError
from benchmarks import accuracy, ceiling, machine, report
from benchmarks.contestants import CORES, Arithmetic, Contestant, Tuning, contestants, running
from benchmarks.environments import BUILD, ROOT
from benchmarks.measuring import Amount, agreement, closed, measured
from benchmarks.networks import NETWORKS, MissingError, Network, made, picture, quantized
from benchmarks.runs import Run
from tests.support.assets import ASSETS

_FULL = ("yolov3-416", "yolov3-tiny-416", "yolo-fastest-1.1-xl-320", "yolo11n-640")
_QUICK = ("bare loop", "flask gthread", "barevision")
_MOST_PHOTOS = 64


def main() -> None:
    """Measures what isn't measured yet under that name, and writes docs/benchmarks/NAME.*."""
    arguments = _arguments()
    if not shutil.which("h2load"):
        sys.exit("h2load is missing: 'apt-get install nghttp2-client', as root")
    # Thousands of connections at once.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    # What was started ends with a terminated benchmark as with an interrupted one.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    run = Run(BUILD / "runs" / f"{arguments.name}.jsonl")
    try:
        Benchmark(arguments, run).measure()
    except KeyboardInterrupt:
        print(f"\nstopped; the same command goes on where this was ({run.path})")
    report.write(run.read(), arguments.name, ROOT / "docs" / "benchmarks", arguments.readme)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("name", help="of the run: a started one goes on, a complete one is only written out again")
    parser.add_argument("--quick", action="store_true", help="one small network, two servers, one round, no open loop")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=_FULL, help="default: %(default)s")
    parser.add_argument("--only", nargs="+", help="contestants by name; default: all")
    parser.add_argument("--clients", nargs="+", type=int, default=[1, 2, 8, 32, 128], help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=5, help="of a closed loop; an open one is 3 times as long")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s; the last one has the open loops")
    parser.add_argument("--lab", type=Path, help="inventory of the lab on whose machine Barevision is deployed")
    parser.add_argument("--readme", action="store_true", help="write the per-core table into README.md as well")
    arguments = parser.parse_args()
    if arguments.quick:
        is_there = (ASSETS / "models" / "yolo-fastest-1.1-xl").is_dir()
        arguments.networks = ["yolo-fastest-1.1-xl-320" if is_there else "roadsigns-320"]
        arguments.only, arguments.clients, arguments.seconds, arguments.rounds = _QUICK, [1, 8], 2, 1
    known = [contestant.name for contestant in contestants(set())]
    unknown = set(arguments.only or ()) - set(known)
    if unknown:
        parser.error(f"no contestant is called {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return arguments


class Benchmark:
    """One run of all that was asked for."""

    def __init__(self, arguments: argparse.Namespace, run: Run) -> None:
        self._arguments, self._run = arguments, run
        carried = {*this_processor().precisions} & {"bf16"}
        if not arguments.quick:
            # Quantizing alone takes minutes.
            carried |= {"int8"}
        everybody = contestants(carried)
        self._contestants = [one for one in everybody if not arguments.only or one.name in arguments.only]
        self._precisions = sorted({"f32", *carried})
        self._references: dict[str, list[list[dict]]] = {}

    def measure(self) -> None:
        """Round by round, so that what disturbs for a minute doesn't hit one contestant alone."""
        here = machine.described()
        there = self._run.machine()
        if there and not machine.is_comparable(here, there):
            print(
                f"nothing is measured: {self._run.path} is of a machine with {there['cores']} cores of "
                f"{there['processor']}, this one has {here['cores']} of {here['processor']}; name another run"
            )
            return
        self._run.add({"machine": here, "arguments": {k: str(v) for k, v in vars(self._arguments).items()}})
        networks = list(self._networks())
        if any(contestant.name == "network alone" for contestant in self._contestants):
            self._measure_ceilings()
        if not self._arguments.quick:
            self._measure_accuracies(networks)
        todo = [
            (network, round_number, contestant, arithmetic)
            for round_number in range(self._arguments.rounds)
            for network in networks
            for contestant in self._contestants
            for arithmetic in contestant.arithmetics
            if not self._run.has(_key(network, round_number, contestant, arithmetic))
        ]
        begin = time.monotonic()
        for number, unit in enumerate(todo):
            left = (time.monotonic() - begin) / number * (len(todo) - number) / 60 if number else None
            words = f"{unit[0].name}, round {unit[1] + 1}, {unit[2].name}, {unit[3]}"
            print(f"[{number + 1}/{len(todo)}{f', {left:.0f} min left' if left else ''}] {words}", flush=True)
            self._measure(*unit)

    def _networks(self) -> Iterator[Network]:
        for name in self._arguments.networks:
            try:
                network = made(name)
            except (MissingError, ModelError) as error:
                print(f"skipped: {error}", flush=True)
                self._run.add({"missing": name, "reason": str(error)})
                continue
            self._run.add(
                {
                    "network": name,
                    "weights": network.weights,
                    "multiply_adds": ceiling.multiply_adds(network.path),
                    "bytes": network.path.stat().st_size,
                }
            )
            yield network

    def _measure(self, network: Network, round_number: int, contestant: Contestant, arithmetic: Arithmetic) -> None:
        key = _key(network, round_number, contestant, arithmetic)
        amount = Amount(
            self._arguments.seconds,
            tuple(clients for clients in self._arguments.clients if clients <= contestant.most_clients),
            large=not self._arguments.quick and contestant.name != "network alone",
            opened=not self._arguments.quick and round_number == self._arguments.rounds - 1,
        )
        lines = []
        try:
            computed = quantized(network) if arithmetic.precision == "int8" else network
            for tuning in self._tunings(computed, contestant, arithmetic):
                with running(contestant, computed, arithmetic, tuning, self._arguments.lab) as started:
                    results = []
                    for result in measured(started, amount):
                        _print(result)
                        if result["what"] == "start":
                            answer = result.pop("answer")
                            if contestant.name != "network alone" and network.weights == "real":
                                result["agreement"] = self._agreement(network, started, answer, round_number)
                        results.append(result)
                lines.append({**key, "tuning": str(tuning), "results": results})
        except (MissingError, RuntimeError, OSError) as error:
            print(f"    failed: {error}", flush=True)
            lines = [{**key, "failed": str(error)[:2000]}]
        for line in lines:
            self._run.add(line)

    def _tunings(self, network: Network, contestant: Contestant, arithmetic: Arithmetic) -> list[Tuning]:
        """A loop is measured in each of its tunings; a server in the one that answered eight clients fastest."""
        if contestant.mode == "loop" or len(contestant.tunings) == 1:
            return list(contestant.tunings)
        tried = {"network": network.name, "contestant": contestant.name, "arithmetic": str(arithmetic)}
        known = self._run.find(tried | {"trial": True})
        if known is None:
            rates = {}
            for tuning in contestant.tunings:
                with running(contestant, network, arithmetic, tuning, None) as started:
                    rate = closed(started, picture("640x480"), 2, 1, 10)["rate"]
                    rates[str(tuning)] = closed(started, picture("640x480"), 8, self._arguments.seconds, rate or 1)[
                        "rate"
                    ]
                print(f"    {tuning}: {rates[str(tuning)]:.1f} a second", flush=True)
            known = tried | {"trial": True, "rates": rates}
            self._run.add(known)
        best = max(known["rates"], key=known["rates"].get)
        return [tuning for tuning in contestant.tunings if str(tuning) == best]

    def _agreement(self, network: Network, started, answer: list[dict], round_number: int) -> tuple[int, int]:
        """How many boxes of ONNX Runtime's at f32 are answered: on photos by a loop, on the one picture by a server."""
        photos = [picture("640x480")]
        if started.ask and round_number == 0:
            photos += sorted((ASSETS / "coco64").rglob("*.jpg"))[:_MOST_PHOTOS]
        answers = [answer, *(started.ask({"answers": [str(photo) for photo in photos[1:]]}) if photos[1:] else [])]
        if len(self._references.get(network.name, [])) < len(photos):
            loop = next(one for one in contestants(set()) if one.name == "bare loop")
            with running(loop, network, Arithmetic("onnxruntime", "f32"), loop.tunings[0], None) as reference:
                self._references[network.name] = reference.ask({"answers": [str(photo) for photo in photos]})
        pairs = [agreement(*pair) for pair in zip(self._references[network.name], answers, strict=False)]
        return sum(matched for matched, _ in pairs), sum(count for _, count in pairs)

    def _measure_accuracies(self, networks: list[Network]) -> None:
        for network in networks:
            key = {"accuracy": network.name}
            if network.weights == "real" and self._run.find(key) is None:
                try:
                    rows = accuracy.measured(network)
                except (MissingError, QuantizingError) as error:
                    print(f"skipped: {error}", flush=True)
                    return
                self._run.add(key | {"by_precision": rows})

    def _measure_ceilings(self) -> None:
        """The rate of large convolutions, in floating-point or integer operations a second, for each precision."""
        loop = next(one for one in contestants(set(self._precisions)) if one.name == "network alone")
        for arithmetic in loop.arithmetics:
            key = {"ceiling": str(arithmetic)}
            if self._run.find(key) is not None:
                continue
            path = ceiling.convolution(arithmetic.precision)
            large = Network("convolutions", "", path, [], {}, ceiling.SIZE, None, "random")
            rates = {}
            for tuning in loop.tunings:
                with running(loop, large, arithmetic, tuning, None) as started:
                    rate = closed(started, picture("640x480"), tuning.streams, self._arguments.seconds, 10)["rate"]
                    rates[str(tuning)] = 2 * ceiling.multiply_adds(path) * rate
            print(
                f"large convolution, {arithmetic}: {max(rates.values()) / 1e9:.0f} GFLOP/s on {CORES} cores", flush=True
            )
            self._run.add(key | {"rates": rates})


def _key(network: Network, round_number: int, contestant: Contestant, arithmetic: Arithmetic) -> dict:
    return {
        "network": network.name,
        "round": round_number,
        "contestant": contestant.name,
        "arithmetic": str(arithmetic),
    }


def _print(result: dict) -> None:
    if result["what"] == "start":
        print(
            f"    ready after {result['ready_seconds']:.1f} s, first answer {result['first_seconds']:.2f} s", flush=True
        )
        return
    load = f"{result['clients']} clients" if result["what"] == "closed" else f"{result['share']:.0%} of capacity"
    p99 = "-" if result["p99"] is None else f"{result['p99'] * 1000:.0f} ms"
    print(f"    {load}: {result['rate']:.1f} a second, p99 {p99}, {result['statuses']}", flush=True)


if __name__ == "__main__":
    main()
