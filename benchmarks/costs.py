"""From a benchmark's run to the tables of docs/costs.md: `.venv/bin/python -m benchmarks.costs NAME`.

Measured is the processor time of a prediction, of the whole service with NGINX, on the processor of the run. What other
processors take is scaled from it, at f32, by how many numbers they compute in a second; docs/costs.md says so.
"""

from __future__ import annotations

import argparse
import json
from typing import NamedTuple

from benchmarks.environments import ROOT
from benchmarks.report import table

_PAGE = ROOT / "docs" / "costs.md"


class MachineType(NamedTuple):
    """A type that can be rented.

    :ivar cores: how many vCPUs it may use for good; of shared ones a part.
    :ivar price: of an hour, in US dollars.
    :ivar processor: what it may get, the poorest one decides.
    :ivar width: 32-bit numbers that a vCPU multiplies and adds in a clock. Half of a core's where two vCPUs share it.
    """

    name: str
    cores: float
    price: float
    processor: str
    width: int


_WIDE, _HALF = 16, 8
# What these processors roughly hold while all cores compute, in Hz.
_CLOCK = 3e9
TYPES = (
    MachineType("g1-small, the tutorial's", 0.5, 0.0257, "Intel up to Skylake", _HALF),
    MachineType("e2-small", 0.5, 0.016753, "any, with AVX2", _HALF),
    MachineType("e2-medium", 1, 0.033506, "any, with AVX2", _HALF),
    MachineType("e2-standard-2", 2, 0.067011, "any, with AVX2", _HALF),
    MachineType("n2d-highcpu-2", 2, 0.062376, "AMD Rome, Milan", _HALF),
    MachineType("t2d-standard-1", 1, 0.042246, "AMD Milan, a core each", _WIDE),
    MachineType("t2a-standard-1", 1, 0.0385, "Ampere Altra (arm64), a core each", _HALF),
    MachineType("n2-highcpu-2", 2, 0.071696, "Intel Cascade, Ice Lake", _WIDE),
    MachineType("n4-highcpu-2", 2, 0.079964, "Intel Emerald Rapids", _WIDE),
    MachineType("c3-highcpu-4", 4, 0.170104, "Intel Sapphire Rapids", _WIDE),
    MachineType("c4-highcpu-2", 2, 0.085052, "Intel Emerald, Granite Rapids", _WIDE),
)


def main() -> None:
    """Writes the tables of docs/costs.md from docs/benchmarks/NAME.json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.costs", description=__doc__.splitlines()[0])
    parser.add_argument("name", help="of the benchmark's run")
    name = parser.parse_args().name
    results = json.loads((ROOT / "docs" / "benchmarks" / f"{name}.json").read_text("utf-8"))
    text = _PAGE.read_text("utf-8")
    for place, content in (("measured", measured(results, name)), ("scaled", scaled(results))):
        start, end = f"<!-- {place} -->", f"<!-- {place}: end -->"
        text = f"{text[: text.index(start) + len(start)]}\n{content}\n{text[text.index(end) :]}"
    _PAGE.write_text(text)
    print(f"written: {_PAGE}")


def measured(results: dict, name: str) -> str:
    """What a prediction takes on the processor of the run, at f32 and as Barevision chooses itself."""
    machine, f32, chosen = results["machine"], _seconds(results, "onnxruntime f32"), _seconds(results, "auto")
    rows = [[network, *_measured_cells(f32.get(network)), *_measured_cells(chosen.get(network))]
            for network in {**f32, **chosen}]  # fmt: skip
    processor = f"{machine['processor']} (model {machine['model']}), {machine['cores']} vCPUs"
    head = ["network", "f32: milliseconds of a vCPU", "a second and vCPU", "chosen: milliseconds", "a second and vCPU"]
    return f"{table(head, rows)}\n\n{processor}, {', '.join(machine['flags'])}; [the run](benchmarks/{name}.md)."


def _measured_cells(seconds: float | None) -> list[str]:
    return [f"{1000 * seconds:.1f}", f"{1 / seconds:.1f}"] if seconds else ["-", "-"]


def scaled(results: dict) -> str:
    """What a dollar brings at f32, in thousand predictions, and how many there are a second."""
    operations, seconds = _operations(results), _seconds(results, "onnxruntime f32")
    rows = [
        [kind.name, kind.processor, f"{kind.cores:g}", f"{kind.price:.4f}", f"{speed(kind, operations):.2f}",
         *(_cell(kind, kind.cores * speed(kind, operations) / spent) for spent in seconds.values())]
        for kind in TYPES
    ]  # fmt: skip
    return table(["machine type", "processor", "vCPUs", "$ an hour", "speed of a vCPU", *seconds], rows)


def _seconds(results: dict, arithmetic: str) -> dict[str, float]:
    """By network, the least processor time of Barevision's prediction under load."""
    found = {}
    for row in results["rows"]:
        if (row["contestant"], row["arithmetic"]) == ("barevision", arithmetic):
            loads = row["closed"].get("640x480", {}).values()
            spent = [load["processor_seconds"][0] for load in loads if load["processor_seconds"]]
            found |= {row["network"]: min(spent)} if spent else {}
    return found


def _operations(results: dict) -> float:
    """How many operations a second a vCPU of the run did on the large convolution at f32."""
    rates = [rate for name, rate in results["ceilings"].items() if name.endswith(" f32")]
    return max(rates) / results["machine"]["cores"]


def speed(kind: MachineType, operations: float) -> float:
    """How fast a vCPU of `kind` is beside one that does so many operations a second."""
    return 2 * kind.width * _CLOCK / operations


def _cell(kind: MachineType, rate: float) -> str:
    return f"{rate * 3600 / kind.price / 1000:,.0f} ({rate:.3g})"


if __name__ == "__main__":
    main()
