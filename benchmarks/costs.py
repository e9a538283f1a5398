"""From a benchmark's run to the tables of docs/costs.md: `.venv/bin/python -m benchmarks.costs NAME`.

Measured is the processor time of a prediction, of the whole service with NGINX, on the processor of the run. What other
processors take is scaled from it by how many numbers they compute at once; docs/costs.md says so.
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


_WIDE, _HALF, _NARROW = 16, 8, 4
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
    """What a prediction takes on the processor of the run."""
    machine = results["machine"]
    rows = [[network, f"{1000 * spent:.1f}", f"{1 / spent:.1f}"] for network, spent in _seconds(results).items()]
    processor = f"{machine['processor']} (model {machine['model']}), {machine['cores']} vCPUs"
    head = ["network", "milliseconds of a vCPU", "a second and vCPU"]
    return f"{table(head, rows)}\n\n{processor}, {', '.join(machine['flags'])}; [the run](benchmarks/{name}.md)."


def scaled(results: dict) -> str:
    """What a dollar brings, in thousand predictions, and how many there are a second."""
    width, seconds = vector_width(results["machine"]), _seconds(results)
    rows = [
        [kind.name, kind.processor, f"{kind.cores:g}", f"{kind.price:.4f}", f"{kind.width / width:g}",
         *(_cell(kind, predictions_a_second(kind, spent, width)) for spent in seconds.values())]
        for kind in TYPES
    ]  # fmt: skip
    return table(["machine type", "processor", "vCPUs", "$ an hour", "speed of a vCPU", *seconds], rows)


def _seconds(results: dict) -> dict[str, float]:
    """By network, the least processor time of a prediction under load, with what Barevision chooses itself."""
    found = {}
    for row in results["rows"]:
        if (row["contestant"], row["arithmetic"]) == ("barevision", "auto"):
            loads = row["closed"].get("640x480", {}).values()
            spent = [load["processor_seconds"][0] for load in loads if load["processor_seconds"]]
            found |= {row["network"]: min(spent)} if spent else {}
    return found


def vector_width(machine: dict) -> int:
    """That of the measured processor's vCPUs, two of which are taken to share a core."""
    flags = set(machine["flags"])
    return _WIDE if "avx512f" in flags else _HALF if "avx2" in flags else _NARROW


def predictions_a_second(kind: MachineType, seconds: float, width: int) -> float:
    """What `kind` does, where a vCPU of `width` takes `seconds` for a prediction."""
    return kind.cores * kind.width / width / seconds


def _cell(kind: MachineType, rate: float) -> str:
    return f"{rate * 3600 / kind.price / 1000:,.0f} ({rate:.3g})"


if __name__ == "__main__":
    main()
