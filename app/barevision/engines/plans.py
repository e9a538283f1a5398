"""Which ways of running a network there are on a processor."""

from __future__ import annotations

from barevision.engines import EngineName, Plan, Precision
from barevision.engines.processor import Processor

# In the order in which they are tried: what the others are compared with first, and then what is mostly the fastest.
# OpenCV never is.
_CANDIDATES: tuple[tuple[EngineName, Precision], ...] = (
    ("onnxruntime", "f32"),
    ("openvino", "bf16"),
    ("openvino", "f32"),
    ("openvino", "f16"),
)
_QUANTIZED: tuple[tuple[EngineName, Precision], ...] = (("openvino", "int8"), ("onnxruntime", "int8"))


def possible_plans(
    processor: Processor,
    cores: int,
    engine: EngineName | None = None,
    precision: Precision | None = None,
    quantized: bool = False,
) -> list[Plan]:
    """Every engine, precision and division of `cores` cores that may be the fastest on `processor`.

    :param engine: the only one that is wanted; None for any.
    :param precision: the only one that is wanted, also if the processor's flags don't promise it; None for any.
    :param quantized: whether it is for a quantized network, which runs with int8 and nothing else.
    """
    if engine == "opencv":
        # It runs one inference at a time.
        return [Plan("opencv", precision or "f32", 1, cores)]
    wanted = [
        candidate
        for candidate in (_QUANTIZED if quantized else _CANDIDATES)
        if engine in (None, candidate[0])
        and candidate[1] in ((precision,) if precision else ("int8", *processor.precisions))
    ]
    plans = [
        Plan(engine, precision, streams, threads)
        for engine, precision in wanted
        for streams, threads in (shared(cores) if engine == "onnxruntime" else divisions(cores))
    ]
    # The others of ONNX Runtime's ways rarely win, and time may be over before all are tried.
    return sorted(plans, key=lambda plan: plan.engine == "onnxruntime" and plan.threads != cores)


def shared(cores: int) -> list[tuple[int, int]]:
    """Ways of ONNX Runtime, whose inferences share their helpers: (inferences at once, cores that one may use).

    One alone then has all cores, and each of many one or a few, as it comes. The second way has no helpers at all.
    """
    some_at_once = [(streams, cores) for streams, _ in divisions(cores) if streams > 1]
    return list(dict.fromkeys([(cores, cores), (cores, 1), *some_at_once]))


def divisions(cores: int) -> list[tuple[int, int]]:
    """Ways to share `cores` cores: (inferences at once, cores of each). One core to each, all to one, two between."""
    candidates = {1, round(cores**0.5), cores // 2, cores} - {0}
    ways = [(streams, cores // streams) for streams in sorted(candidates, reverse=True) if cores % streams == 0]
    # The two ends first: they mostly are the fastest for a crowd and for a lone inference.
    return ways[:1] + ways[-1:] * (len(ways) > 1) + ways[1:-1]
