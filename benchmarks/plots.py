"""Draws a run: `python plots.py NAME.json` in the environment "plots" writes NAME-NETWORK-*.svg, prints their names."""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

# Okabe and Ito's, which the colour-blind tell apart; a contestant has the same one everywhere.
COLORS = {
    "barevision": "#000000",
    "bare loop": "#999999",
    "flask gthread": "#0072B2",
    "flask sync": "#56B4E9",
    "fastapi": "#009E73",
    "litserve": "#D55E00",
    "bentoml": "#E69F00",
    "opencv loop": "#CC79A7",
    "tutorial": "#8B4513",
}
# Engines and precisions by their line.
STYLES = {"onnxruntime f32": "-", "openvino f32": "-.", "openvino bf16": "--", "openvino int8": ":", "auto": "-"}


def main() -> None:
    """Draws each network's three pictures."""
    path = Path(sys.argv[1])
    results = json.loads(path.read_text())
    # The same text and the same names in the file each time, so that a new run is a small change.
    plt.rcParams.update({"svg.hashsalt": "barevision", "svg.fonttype": "none", "font.size": 9, "axes.grid": True,
                         "grid.alpha": 0.3, "axes.spines.top": False, "axes.spines.right": False})  # fmt: skip
    for network in results["networks"]:
        rows = [row for row in results["rows"] if row["network"] == network and row["contestant"] in COLORS]
        if rows:
            name = f"{path.stem}-{network}"
            bars(rows, network, path.with_name(f"{name}-throughput.svg"))
            by_clients(rows, network, path.with_name(f"{name}-waits.svg"))
            if any(row["open"] for row in rows):
                overload(rows, network, path.with_name(f"{name}-overload.svg"))


def bars(rows: list[dict], network: str, path: Path) -> None:
    """The best throughput of each, from the least to the largest of the rounds."""
    best = {}
    for row in rows:
        loads = row["closed"].get("640x480", {})
        if loads:
            clients, load = max(loads.items(), key=lambda item: item[1]["rate"][0])
            key = (row["contestant"], row["arithmetic"])
            if key not in best or load["rate"][0] > best[key][0][0]:
                best[key] = (load["rate"], clients)
    ordered = sorted(best.items(), key=lambda item: item[1][0][0])
    figure, axes = plt.subplots(figsize=(8, 0.6 + 0.26 * len(ordered)))
    for place, ((contestant, _), ((median, least, most), clients)) in enumerate(ordered):
        error = [[median - least], [most - median]]
        axes.barh(place, median, color=COLORS[contestant], xerr=error, ecolor="#555555", height=0.7)
        axes.text(most, place, f"  {median:.1f} (of {clients})", va="center", fontsize=8)
    axes.set_yticks(range(len(ordered)), [f"{contestant}, {arithmetic}" for (contestant, arithmetic), _ in ordered])
    axes.margins(x=0.18)
    axes.set_xlim(left=0)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("answers a second")
    axes.set_title(f"{network}: the best throughput of each, and of how many clients", loc="left")
    saved(figure, path)


def by_clients(rows: list[dict], network: str, path: Path) -> None:
    """Throughput and the 99th percentile of waits over the number of clients, for servers."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2))
    for row in rows:
        loads = row["closed"].get("640x480", {})
        if not loads or "loop" in row["contestant"]:
            continue
        clients = sorted(map(int, loads))
        left.plot(clients, [loads[str(number)]["rate"][0] for number in clients], **style(row))
        waits = [(number, loads[str(number)]["p99"]) for number in clients]
        right.plot([number for number, p99 in waits if p99], [p99[0] * 1000 for _, p99 in waits if p99], **style(row))
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xticks(sorted({int(number) for row in rows for number in row["closed"].get("640x480", {})}))
        axes.xaxis.set_major_formatter(matplotlib.ticker.ScalarFormatter())
        axes.set_xlabel("clients that ask all the time")
    left.set_ylim(bottom=0)
    left.set_title(f"{network}: answers a second", loc="left")
    right.set_yscale("log")
    right.yaxis.set_major_formatter(matplotlib.ticker.ScalarFormatter())
    right.set_title("99 of 100 are answered within, milliseconds", loc="left")
    figure.legend(
        *left.get_legend_handles_labels(), loc="outside right upper", fontsize=8, frameon=False, handlelength=4
    )
    saved(figure, path)


def overload(rows: list[dict], network: str, path: Path) -> None:
    """What is answered within ten seconds, over what is offered, both as shares of the contestant's own capacity."""
    figure, axes = plt.subplots(figsize=(8, 4.2))
    for row in rows:
        if row["open"]:
            capacity = max(load["rate"][0] for load in row["closed"]["640x480"].values())
            shares = sorted(row["open"], key=float)
            answered = [row["open"][share]["in_time"][0] / capacity * 100 for share in shares]
            axes.plot([float(share) * 100 for share in shares], answered, **style(row))
    axes.axhline(100, color="#bbbbbb", linewidth=1, zorder=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("offered, % of capacity")
    axes.set_title(f"{network}: answered within 10 seconds, % of capacity", loc="left")
    figure.legend(loc="outside right upper", fontsize=8, frameon=False, handlelength=4)
    saved(figure, path)


def style(row: dict) -> dict:
    is_own = row["contestant"] == "barevision"
    return {
        "color": "#CC0066" if row["arithmetic"] == "auto" else COLORS[row["contestant"]],
        "linestyle": STYLES.get(row["arithmetic"], "-"),
        "linewidth": 2.4 if is_own else 1.2,
        "zorder": 3 if is_own else 2,
        "marker": "o",
        "markersize": 4 if is_own else 3,
        "label": f"{row['contestant']}, {row['arithmetic']}",
    }


def saved(figure: plt.Figure, path: Path) -> None:
    figure.set_layout_engine("constrained")
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    print(path.name)


if __name__ == "__main__":
    main()
