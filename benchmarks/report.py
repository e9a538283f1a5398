"""From a run's results to docs/benchmarks/NAME.json, NAME.md and NAME-*.svg, and the per-core table of README.md."""

from __future__ import annotations

import json
import re
import statistics
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from benchmarks.environments import ROOT, made

_README = ROOT / "README.md"
_MARKS = ("<!-- per core: written by make bench -->", "<!-- per core: end -->")
#: Those that are no servers, and those that Barevision is compared with.
LOOPS = ("network alone", "bare loop", "opencv loop")
PEERS = ("flask gthread", "flask sync", "fastapi", "litserve", "bentoml")


def write(lines: Sequence[dict], name: str, folder: Path, with_readme: bool) -> None:
    """Writes all that a run comes to; what `lines` don't have yet is left out."""
    results = aggregated(lines)
    if not results["rows"]:
        print("there are no results yet")
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(results, indent=1) + "\n")
    plots = subprocess.run(
        [made("plots"), Path(__file__).with_name("plots.py"), path], capture_output=True, text=True, check=True
    ).stdout.split()
    path.with_suffix(".md").write_text(markdown(results, name, plots))
    if with_readme:
        text = _README.read_text("utf-8")
        start, end = (text.index(mark) for mark in _MARKS)
        _README.write_text(f"{text[: start + len(_MARKS[0])]}\n{per_core(results)}\n{text[end:]}")
    print(f"written: {path.with_suffix('.md')}")


def aggregated(lines: Iterable[dict]) -> dict:
    """All rounds as one: of each number [median, least, largest]; statuses, "sent" and "lost" are sums."""
    results: dict = {
        "machine": {},
        "arguments": {},
        "networks": {},
        "missing": {},
        "ceilings": {},
        "accuracies": {},
        "rows": [],
    }
    rounds: dict[tuple, list[list[dict]]] = {}
    failed: dict[tuple, str] = {}
    for line in lines:
        if "machine" in line:
            results |= {"machine": line["machine"], "arguments": line["arguments"]}
        elif "missing" in line:
            results["missing"][line["missing"]] = line["reason"]
        elif "multiply_adds" in line:
            results["networks"][line["network"]] = line
            results["missing"].pop(line["network"], None)
        elif "ceiling" in line:
            results["ceilings"][line["ceiling"]] = max(line["rates"].values())
        elif "accuracy" in line:
            results["accuracies"][line["accuracy"]] = line["by_precision"]
        elif "results" in line:
            key = (line["network"], line["contestant"], line["arithmetic"])
            rounds.setdefault((*key, line["tuning"]), []).append(line["results"])
            failed.pop(key, None)
        elif "failed" in line:
            failed[line["network"], line["contestant"], line["arithmetic"]] = line["failed"]
    for key, all_results in rounds.items():
        row = dict(zip(("network", "contestant", "arithmetic", "tuning"), key, strict=True)) | {
            "closed": {},
            "open": {},
        }
        found: dict[tuple, list[dict]] = {}
        for result in (result for results_of_round in all_results for result in results_of_round):
            place = {"closed": ("picture", "clients"), "open": ("share",)}.get(result["what"], ())
            found.setdefault((result["what"], *(str(result[name]) for name in place)), []).append(result)
        for (what, *place), same in found.items():
            if what == "start":
                row["start"] = _merged(same)
            elif what == "closed":
                row["closed"].setdefault(place[0], {})[place[1]] = _merged(same)
            else:
                row["open"][place[0]] = _merged(same)
        results["rows"].append(row)
    results["failed"] = [dict(zip(("network", "contestant", "arithmetic"), key, strict=True), reason=reason)
                         for key, reason in failed.items()]  # fmt: skip
    return results


def _merged(same: Sequence[dict]) -> dict:
    merged: dict = {}
    for name in same[0]:
        values = [result[name] for result in same if result.get(name) is not None]
        if name == "statuses":
            merged[name] = dict(sum((Counter(value) for value in values), Counter()))
        elif name in ("sent", "lost"):
            merged[name] = sum(values)
        elif name == "agreement":
            # The first round's, which has the most pictures.
            merged[name] = values[0]
        elif name == "health":
            merged[name] = values[-1]
        elif name not in ("what", "picture", "clients", "share"):
            merged[name] = [statistics.median(values), min(values), max(values)] if values else None
    return merged


def markdown(results: dict, name: str, plots: Sequence[str]) -> str:
    """The whole report."""
    machine = results["machine"]
    parts = [
        f"# {name}",
        "Written by `python -m benchmarks`; [README.md](README.md) says how to read it. Numbers are medians of the "
        "rounds, with the least and the largest.",
        "## The machine",
        _machine(machine),
        *(["## The limit", _ceilings(results)] if results["ceilings"] else []),
        "## Pictures a second and core",
        per_core(results),
    ]
    for network, known in results["networks"].items():
        rows = [row for row in results["rows"] if row["network"] == network]
        if not rows:
            continue
        kind = "Random weights of the right length" if known["weights"] == "random" else "Its own weights"
        parts += [
            f"## {network}",
            f"{kind}; {2 * known['multiply_adds'] / 1e9:.2f} billion operations a picture.",
            *(
                f"![{network}: {Path(plot).stem.rpartition('-')[2]}]({plot})"
                for plot in plots
                if f"-{network}-" in plot
            ),
            *(
                ["### Accuracy", _accuracies(results["accuracies"][network])]
                if network in results["accuracies"]
                else []
            ),
            "### Answers a second, by clients (640x480)",
            _by_clients(rows, lambda load: _spread(load["rate"])),
            "### Wait in milliseconds, p50 / p95 / p99, by clients (640x480)",
            _by_clients(rows, lambda load: " / ".join(_ms(load[share]) for share in ("p50", "p95", "p99"))),
            "### Start, memory, processor time",
            _costs(rows),
            "### Refused or failed in closed loops",
            _refusals(rows),
            "### 12 megapixels, 8 clients",
            _large(rows),
            "### Offered more or less than capacity (open loop)",
            _opened(rows),
            "### Barevision compared",
            _compared(rows),
        ]
    parts += ["## What was not measured", _missing(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def per_core(results: dict) -> str:
    """A line for each network and arithmetic that Barevision was measured with: the README's table."""
    cores = results["machine"]["cores"]
    rows = []
    for network, known in results["networks"].items():
        for row in results["rows"]:
            if (row["network"], row["contestant"]) != (network, "barevision") or not _loads(row):
                continue
            best = max((load["rate"] for load in _loads(row).values()), key=lambda rate: rate[0])
            alone = _loads(row).get("1")
            peers = [_best(other) for other in results["rows"]
                     if other["network"] == network and other["contestant"] in PEERS
                     and other["arithmetic"] == row["arithmetic"] and _loads(other)]  # fmt: skip
            rows.append(
                [
                    network,
                    row["arithmetic"],
                    f"{best[0] / cores:.1f}",
                    _ms(alone["p50"]) if alone else "-",
                    f"{max(peers) / cores:.1f}" if peers else "-",
                    _accuracy(results, row) if known["weights"] == "real" else "random weights",
                ]
            )
    machine = results["machine"]
    note = f"{machine['processor']}, {cores} cores, {', '.join(machine['flags'])}; through NGINX and Gunicorn, 640x480."
    head = [
        "network",
        "computed by",
        "pictures a second and core",
        "one client waits, ms",
        "best peer, a second and core",
        "boxes as f32's",
    ]
    return f"{table(head, rows)}\n\n{note}"


def _accuracy(results: dict, row: dict) -> str:
    """Boxes that agree with f32's: of the loop with the same arithmetic, which was asked about more pictures."""
    wanted = (row["network"], "bare loop", row["arithmetic"])
    same = [
        other for other in results["rows"] if (other["network"], other["contestant"], other["arithmetic"]) == wanted
    ]
    for candidate in (*same, row):
        if "agreement" in candidate.get("start", {}):
            matched, count = candidate["start"]["agreement"]
            return f"{matched} of {count}"
    return "-"


def _machine(machine: dict) -> str:
    versions = machine["versions"]
    named = ("onnxruntime", "openvino", "opencv-python-headless", "numpy", "flask", "gunicorn", "fastapi", "uvicorn",
             "litserve", "bentoml")  # fmt: skip
    used = sorted({version for all_of_them in versions.values() for version in all_of_them
                   if version.partition("==")[0] in named})  # fmt: skip
    rows = [
        ["processor", f"{machine['processor']} (model {machine['model']}), {machine['architecture']}"],
        ["cores", f"{machine['cores']}, {machine['threads_per_core']} thread(s) each"
                  f"{', of a virtual machine' if machine['virtual'] else ''}"],
        ["flags", ", ".join(machine["flags"])],
        ["memory", f"{machine['memory_bytes'] / 2**30:.0f} GiB"],
        ["system", f"{machine['system']}, Linux {machine['kernel']}, Python {machine['python']}, {machine['h2load']}"],
        ["load before", f"{machine['load_before']:.1f}"],
        ["packages", ", ".join(used)],
    ]  # fmt: skip
    return table(["", ""], rows)


def _ceilings(results: dict) -> str:
    rows = []
    for arithmetic, ceiling in results["ceilings"].items():
        cells = [arithmetic, f"{ceiling / 1e9:.0f}"]
        for network, known in results["networks"].items():
            rates = [_best(row) for row in results["rows"]
                     if (row["network"], row["contestant"], row["arithmetic"]) == (network, "network alone", arithmetic)
                     and _loads(row)]  # fmt: skip
            share = 2 * known["multiply_adds"] * max(rates) / ceiling if rates else None
            cells.append(f"{share:.0%} ({max(rates):.1f})" if rates else "-")
        rows.append(cells)
    head = [
        "",
        "a large convolution, GFLOP/s",
        *(f"{network} alone: share (a second)" for network in results["networks"]),
    ]
    return table(head, rows)


def _accuracies(by_precision: Sequence[dict]) -> str:
    rows = [
        [row["precision"], f"{row['map50']:.2f}", f"{row['map50_95']:.2f}", f"{row['agreement']:.1%}"]
        for row in by_precision
    ]
    note = (
        "On the tests' photos with labels, with few bits computed by OpenVINO; as `barevision models quantize` counts."
    )
    return f"{table(['precision', 'mAP50', 'mAP50-95', 'boxes that f32 finds'], rows)}\n\n{note}"


def _by_clients(rows: Sequence[dict], cell: Callable[[dict], str]) -> str:
    columns = sorted({clients for row in rows for clients in _loads(row)}, key=int)
    body = [
        [row["contestant"], row["arithmetic"], row["tuning"] if row["contestant"] != "barevision" else "its own",
         *(cell(_loads(row)[column]) if column in _loads(row) else "-" for column in columns)]
        for row in rows
    ]  # fmt: skip
    return table(["contestant", "computed by", "processes x streams x threads", *columns], body)


def _costs(rows: Sequence[dict]) -> str:
    body = []
    for row in rows:
        loads, start = _loads(row), row["start"]
        few, many = (loads.get(clients) for clients in ("2", "128"))
        spent = min(
            (load["processor_seconds"][0] for load in loads.values() if load["processor_seconds"]), default=None
        )
        agreed = start.get("agreement")
        body.append(
            [row["contestant"], row["arithmetic"], _spread(start["ready_seconds"], 2), _ms(start["first_seconds"]),
             _mb(start["memory"]), _mb(few["memory"]) if few else "-", _mb(many["memory"]) if many else "-",
             f"{spent * 1000:.1f}" if spent else "-", f"{agreed[0]} of {agreed[1]}" if agreed else "-",
             f"{max((load['load_cores'][0] for load in loads.values()), default=0):.2f}",
             f"{max((load['other_cores'][0] for load in loads.values()), default=0):.2f}"]
        )  # fmt: skip
    head = [
        "contestant",
        "computed by",
        "ready after s",
        "first answer ms",
        "MB at first",
        "MB, 2 clients",
        "MB, 128 clients",
        "processor ms an answer",
        "boxes as f32's",
        "h2load's cores",
        "others' cores",
    ]
    return table(head, body)


def _refusals(rows: Sequence[dict]) -> str:
    body = [
        [row["contestant"], row["arithmetic"], clients, _statuses(load["statuses"]),
         f"{_ms(load['refused_p50'])} / {_ms(load['refused_p99'])}"]
        for row in rows for clients, load in _loads(row).items() if set(load["statuses"]) - {"200"}
    ]  # fmt: skip
    head = ["contestant", "computed by", "clients", "statuses", "refused within ms, p50 / p99"]
    return table(head, body) if body else "None."


def _large(rows: Sequence[dict]) -> str:
    body = [
        [row["contestant"], row["arithmetic"], _spread(load["rate"]), f"{_ms(load['p50'])} / {_ms(load['p99'])}",
         _mb(load["memory"]), _statuses(load["statuses"])]
        for row in rows for load in row["closed"].get("12 megapixels", {}).values()
    ]  # fmt: skip
    head = ["contestant", "computed by", "answers a second", "ms, p50 / p99", "MB", "statuses"]
    return table(head, body) if body else "Not measured."


def _opened(rows: Sequence[dict]) -> str:
    body = []
    for row in rows:
        for share, load in row["open"].items():
            health = ", ".join(
                f"{path} {_ms([seen['max']]) if seen['max'] else '-'} ({seen['failed']} of {seen['asked']} failed)"
                for path, seen in load["health"].items()
            )
            body.append(
                [row["contestant"], row["arithmetic"], f"{float(share):.0%}", f"{load['offered'][0]:.1f}",
                 f"{load['in_time'][0]:.1f}", f"{_ms(load['p50'])} / {_ms(load['p99'])}", _statuses(load["statuses"]),
                 f"{_ms(load['refused_p50'])} / {_ms(load['refused_p99'])}", f"{load['lost']} of {load['sent']}",
                 health, _ms(load["after"])]
            )  # fmt: skip
    head = [
        "contestant",
        "computed by",
        "of capacity",
        "offered a second",
        "answered within 10 s, a second",
        "ms, p50 / p99",
        "statuses",
        "refused within ms, p50 / p99",
        "lost",
        "slowest health check, ms",
        "afterwards, ms",
    ]
    return table(head, body) if body else "Not measured."


def _compared(rows: Sequence[dict]) -> str:
    """Barevision against the bare loop and the best peer of the same arithmetic, and the tutorial."""
    body = []
    tutorial = max((_best(row) for row in rows if row["contestant"] == "tutorial" and _loads(row)), default=None)
    for row in rows:
        if row["contestant"] != "barevision" or not _loads(row):
            continue
        bare = [
            _best(other)
            for other in rows
            if (other["contestant"], other["arithmetic"]) == ("bare loop", row["arithmetic"])
        ]
        peers = [other for other in rows if other["contestant"] in PEERS and other["arithmetic"] == row["arithmetic"]]
        for clients, load in _loads(row).items():
            beside = [peer for peer in peers if clients in _loads(peer)]
            fastest = max(beside, key=lambda peer: _loads(peer)[clients]["rate"][0], default=None)
            waits = [_loads(peer)[clients]["p99"][0] for peer in beside if _loads(peer)[clients]["p99"]]
            rate, p99 = load["rate"][0], load["p99"]
            body.append(
                [row["arithmetic"], clients, f"{rate:.1f}",
                 f"{rate / max(bare):.0%}" if bare else "-",
                 f"{fastest['contestant']}: {_ratio(rate, _loads(fastest)[clients]['rate'][0])}" if fastest else "-",
                 _ratio(p99[0], min(waits)) if waits and p99 else "-",
                 _ratio(rate, tutorial) if tutorial else "-"]
            )  # fmt: skip
    head = [
        "computed by",
        "clients",
        "answers a second",
        "of the bare loop's best",
        "the fastest peer, and times as fast",
        "p99, times the shortest peer's",
        "times the tutorial's best",
    ]
    return table(head, body) if body else ""


def _ratio(one: float, other: float) -> str:
    return f"{one / other:.2f}" if other else "-"


def _missing(results: dict) -> str:
    lines = [f"- {reason}" for reason in results["missing"].values()]
    for failure in results["failed"]:
        reason = re.sub(r"\s+", " ", failure["reason"])[-300:]
        lines.append(f"- {failure['network']}, {failure['contestant']}, {failure['arithmetic']}: {reason}")
    return "\n".join(lines) or "All was."


def _loads(row: dict) -> dict[str, dict]:
    """The closed loops with the small picture, by clients."""
    return row["closed"].get("640x480", {})


def _best(row: dict) -> float:
    return max((load["rate"][0] for load in _loads(row).values()), default=0.0)


def _spread(values: Sequence[float] | None, digits: int = 1) -> str:
    if not values:
        return "-"
    median, least, largest = (f"{value:.{digits}f}" for value in values)
    return median if least == largest else f"{median} ({least}-{largest})"


def _ms(values: Sequence[float] | None) -> str:
    if not values:
        return "-"
    return f"{values[0] * 1000:.1f}" if values[0] < 0.1 else f"{values[0] * 1000:.0f}"


def _mb(values: Sequence[float] | None) -> str:
    return f"{values[0] / 1e6:.0f}" if values else "-"


def _statuses(statuses: dict[str, int]) -> str:
    return ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items())) or "none"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in (head, ["---"] * len(head), *rows))
