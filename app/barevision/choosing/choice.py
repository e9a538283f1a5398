"""From trials to the plan that a network is run by: no clock and no files, so that every case can be tested."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from barevision.choosing.agreement import Agreement
from barevision.engines import Plan

#: Of what is tried, how it is run and how it is chosen. With another one, what was measured before is measured anew.
RULES_VERSION = 4
# What another precision, or OpenVINO, has to bring at least: f32 is the tutorial's, and ONNX Runtime takes less memory.
_WORTH_IT = 1.1
# Two measurements that differ by less are equal: other processes take their share meanwhile.
_NOISE = 1.05
# How long a lone picture may take, compared with the best that there is.
_LONE_FACTOR, _LONE_SECONDS = 1.15, 0.0005
# A process has one lock for all of its Python. Beyond so many inferences a second, requests wait for it: two processes
# answer YOLO-Fastest 14 % more often than one, and take 60 MB more.
_MOST_A_PROCESS = 200
_MOST_PROCESSES = 32
# Beyond it, a second copy of the weights costs more memory than its speed is worth.
_LARGEST_DOUBLED = 50_000_000


@dataclass(frozen=True)
class Trial:
    """What running a network by `plan` came to.

    :ivar alone: seconds that an inference takes while there is no other; 0 where it was not measured.
    :ivar rate: inferences a second while all streams are busy; 0 where it was not measured.
    :ivar memory: bytes of memory of the process, its share of what it shares; 0 where it was not measured.
    :ivar agreement: how far its answers are from those of ONNX Runtime at f32; None where nobody compared.
    :ivar problem: why it was not measured, in words.
    """

    plan: Plan
    alone: float = 0
    rate: float = 0
    memory: int = 0
    agreement: Agreement | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Choice:
    """The plan that was chosen, why, and what it brings.

    :ivar reason: in a sentence.
    :ivar alone: seconds that a lone inference takes.
    :ivar rate: inferences a second while all streams are busy.
    :ivar memory: bytes of memory of processes that do nothing else, as many as the plan has.
    """

    plan: Plan
    reason: str
    alone: float
    rate: float
    memory: int


def choose(trials: Sequence[Trial], least: float | None, network_bytes: int) -> Choice | None:
    """The fastest plan whose answers are right; None if there is none.

    :param least: the share of boxes that have to be as f32's, 0 to 1; None for any answers, as of a precision that
        somebody asked for.
    :param network_bytes: how large the network's weights are.
    """
    right = [trial for trial in trials if trial.problem is None and (least is None or is_right(trial, least))]
    if not right:
        return None
    # The rate of the fastest plan of each engine and precision, what is preferred first.
    rates = {}
    for trial in sorted(right, key=lambda trial: (trial.plan.precision != "f32", trial.plan.engine != "onnxruntime")):
        way = trial.plan.engine, trial.plan.precision
        rates[way] = max(rates.get(way, 0), trial.rate)
    best = max(rates.values())
    chosen = next(way for way, rate in rates.items() if rate * _WORTH_IT >= best)
    same = [trial for trial in right if (trial.plan.engine, trial.plan.precision) == chosen]
    fastest = max(trial.rate for trial in same)
    equal = [trial for trial in same if trial.rate * _NOISE >= fastest]
    # While an inference has several cores, what else a request needs takes one of them, and the others wait for it.
    # YOLOv3-tiny was answered 80 instead of 94 times a second so, though the inferences alone are as fast.
    most_streams = max(trial.plan.streams for trial in equal)
    crowds = [trial for trial in equal if trial.plan.streams == most_streams]
    crowd = max(crowds, key=lambda trial: trial.rate)
    lone = min(same, key=lambda trial: trial.alone)
    may_be_doubled = network_bytes <= _LARGEST_DOUBLED
    # Those that serve a lone picture as well. Where no copy can do that, such a one is worth more than streams.
    both = [
        trial
        for trial in (crowds if may_be_doubled else equal)
        if trial.alone <= lone.alone * _LONE_FACTOR + _LONE_SECONDS
    ]
    words = [_rate_in_words(crowd, trials)]
    waits = f"{lone.alone * 1000:.1f} instead of {crowd.alone * 1000:.1f} ms with a copy of the network"
    if both:
        # Of equal ones that which takes the least time alone.
        best = min(both, key=lambda trial: trial.alone)
        plan, alone, memory = best.plan, best.alone, best.memory
        words.append(f"{alone * 1000:.1f} ms for a lone one")
    elif may_be_doubled:
        plan = replace(crowd.plan, lone_threads=lone.plan.threads)
        alone, memory = lone.alone, crowd.memory + network_bytes
        words.append(f"a lone one takes {waits}")
    else:
        plan, alone, memory = crowd.plan, crowd.alone, crowd.memory
        words.append(f"a lone one would take {waits}, but that has {network_bytes / 1e6:.0f} MB")
    wrong = _precisions(trials) - _precisions(right)
    if wrong:
        words.append(f"the answers of {', '.join(sorted(wrong))} are too far from f32's")
    plan = replace(plan, processes=_processes(plan, crowd.rate))
    return Choice(plan, f"{plan}: {'; '.join(words)}", alone, crowd.rate, memory * plan.processes)


def _processes(plan: Plan, rate: float) -> int:
    """How many processes share the streams of `plan`, which do `rate` inferences a second together."""
    if plan.engine == "onnxruntime" and plan.threads > 1:
        # Its inferences share their helpers, which are threads of one process.
        return 1
    return min(math.ceil(rate / _MOST_A_PROCESS), plan.streams, _MOST_PROCESSES)


def _precisions(trials: Sequence[Trial]) -> set[str]:
    return {trial.plan.precision for trial in trials if trial.problem is None}


def is_right(trial: Trial, least: float) -> bool:
    """Whether the trial's answers are near enough to f32's. Without a comparison, only f32's own are."""
    return trial.plan.precision == "f32" if trial.agreement is None else trial.agreement.is_within(least)


def _rate_in_words(crowd: Trial, trials: Sequence[Trial]) -> str:
    words = f"{crowd.rate:.4g} pictures a second"
    usual = max((t.rate for t in trials if (t.plan.engine, t.plan.precision) == ("onnxruntime", "f32")), default=0)
    if usual and (crowd.plan.engine, crowd.plan.precision) != ("onnxruntime", "f32"):
        words += f", {crowd.rate / usual:.2g} times onnxruntime f32"
    return words
