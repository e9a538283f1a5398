"""Quantizing: from a model to one whose convolutions compute with 8 bits, and how far its answers move.

NNCF does it: each weight and each value between layers becomes one of 256 numbers, for which pictures show the range
that values have. What makes boxes of the last convolutions' answers stays in floating point: a coordinate has more than
256 places. The result is a model of one's own, a folder with one ONNX file, which says itself what it answers. It is
asked for, prepared and deployed as any other.

Needs the extra "quantize" of this package, where one quantizes and not where one serves.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import logging
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, version_converter

from barevision.accuracy import MEASURED, Truth, mean_average_precision, read_truths
from barevision.choosing.agreement import matched_share
from barevision.detection.network_input import to_blob
from barevision.detection.selection import Selection
from barevision.detector import Answer, Detector, drawn_image
from barevision.engines import Plan, load_engine
from barevision.engines.processor import this_processor
from barevision.errors import (
    BarevisionError,
    EngineError,
    LabelsError,
    PictureError,
    QuantizingError,
    WrongAnswerError,
)
from barevision.models.files import put_in_place, write_whole
from barevision.models.onnx_file import HEAD_KEY
from barevision.models.onnx_graph import decoding_nodes, is_quantized
from barevision.models.prepare import PreparedModel, prepare
from barevision.models.source import file_source
from barevision.objects import MARGIN
from barevision.pictures.decode import decode_image
from barevision.settings import Settings

#: With fewer pictures, the ranges that values have are guessed rather than seen.
FEW_PICTURES = 32
# More show nothing new.
_MOST_CALIBRATION_PICTURES = 300
# Without pictures to measure with, every so many-th of those to calibrate with is kept apart.
_KEPT_APART = 4
# Boxes down to here are compared: the tutorial's threshold less the margin.
_COMPARED = Selection(confidence=Selection.confidence - MARGIN)
# NNCF's operations have the channels' own scales from this version of ONNX on.
_LEAST_OPSET = 13
# Finding sensitive layers tries each of them on so many pictures, and then leaves at most so many in floating point.
_RANKING_PICTURES = 24
_MOST_FLOAT_LAYERS = 12
# Networks of many layers would take hours, in which each of them is left out once.
_FINDING_SECONDS = 1800
_TIMED_SECONDS = 1.0

Say = Callable[[str], None]
# Of an ONNX network and numbers of pictures, how good it is: all in all, and for each picture.
_Score = Callable[[onnx.ModelProto, Sequence[int]], tuple[float, list[float]]]


@dataclasses.dataclass(frozen=True)
class Bound:
    """What a quantized model may lose.

    :ivar map50: points of mAP50, which decide where there are labels.
    :ivar agreement: the least share of boxes that have to be matched, 0 to 1, which decides where there are none.
    """

    map50: float = 1.0
    agreement: float = 0.97


@dataclasses.dataclass(frozen=True)
class _Way:
    """A way to quantize, the fastest first.

    :ivar words: what it is, for people.
    :ivar is_gentle: values between layers may have their zero anywhere, biases are corrected one layer after the other,
        and the last convolutions stay in floating point.
    :ivar finds_layers: whether layers that lose the most are found and left in floating point.
    """

    words: str
    is_gentle: bool = True
    finds_layers: bool = False


_WAYS = (
    _Way("symmetric, all but the decoding", is_gentle=False),
    _Way("asymmetric, last convolutions in float"),
    _Way("asymmetric, last convolutions and sensitive layers in float", finds_layers=True),
)


class Accuracy(NamedTuple):
    """Mean average precision in points, 0 to 100: at an overlap of 50 %, and the mean of those at 50 to 95 %."""

    map50: float
    map50_95: float


@dataclasses.dataclass(frozen=True)
class Judgement:
    """How a quantized model does on pictures that it was not calibrated with.

    :ivar way: how it was quantized.
    :ivar agreement: the share of boxes that both models find, 0 to 1.
    :ivar accuracy: None where there are no labels.
    """

    way: str
    agreement: float
    accuracy: Accuracy | None
    bytes: int

    def __str__(self) -> str:
        text = f"{self.agreement:.1%} of boxes matched"
        return f"{text}, mAP50 {self.accuracy.map50:.1f}" if self.accuracy else text


@dataclasses.dataclass(frozen=True)
class Report:
    """What came of quantizing.

    :ivar output: the folder that was made if it was adopted.
    :ivar adopted: whether it is within the bound.
    :ivar objection: why it isn't, else empty.
    :ivar best: the first try within the bound, or else the one that lost the least.
    :ivar tries: each of them.
    :ivar accuracy: that of the model in f32; None where there are no labels.
    :ivar seconds: what an inference takes on this machine, by engine and precision.
    """

    model: str
    output: str
    processor: str
    adopted: bool
    objection: str
    calibrated: int
    measured: int
    labelled: int
    best: Judgement
    tries: list[Judgement]
    accuracy: Accuracy | None
    bytes: int
    seconds: dict[str, float]

    def to_json(self) -> dict:
        """All of it, with accuracies by their names."""
        row = dataclasses.asdict(self)
        for part, source in ((row, self), (row["best"], self.best), *zip(row["tries"], self.tries, strict=True)):
            part["accuracy"] = source.accuracy and source.accuracy._asdict()
        return row


def require_packages() -> None:
    """Raises `QuantizingError` if the extra "quantize" isn't installed."""
    missing = [name for name in ("nncf", "pycocotools") if importlib.util.find_spec(name) is None]
    if missing:
        raise QuantizingError(
            f"quantizing takes packages that serving does not, of which {' and '.join(missing)} cannot be found here: "
            "pip install 'barevision[quantize]', or in a checkout pip install './app[quantize]'"
        )


def split_pictures(pictures: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Those to calibrate with, and every fourth, to measure with."""
    kept = list(pictures[_KEPT_APART - 1 :: _KEPT_APART])
    return [picture for picture in pictures if picture not in set(kept)], kept


class Judge:
    """Measures a model's quantized forms on the same pictures, beside the model in f32."""

    def __init__(self, exact: Detector, pictures: Sequence[Path], labels: Path | None) -> None:
        self._pictures, self._names = pictures, exact.model.labels
        answers = [_answer(exact, picture) for picture in pictures]
        self._expected = [answer.detections for answer in answers]
        self.truths: dict[Path, list[Truth]] = {}
        if labels:
            sizes = {picture: answer.size for picture, answer in zip(pictures, answers, strict=True)}
            self.truths = read_truths(labels, sizes, self._names)
        self.accuracy = self._accuracy(exact, pictures)

    def judge(self, way: str, detector: Detector) -> Judgement:
        """How `detector`, of a quantized model, does."""
        shares = self.agreements(detector, range(len(self._pictures)))
        return Judgement(way, shares[0], self._accuracy(detector, self._pictures), detector.model.path.stat().st_size)

    def agreements(self, detector: Detector, numbers: Sequence[int]) -> list[float]:
        """The share of boxes that `detector` and f32 both find: on all pictures of these numbers, and on each."""
        expected = [self._expected[number] for number in numbers]
        answers = [_answer(detector, self._pictures[number]).detections for number in numbers]
        each = [matched_share([one], [other]) for one, other in zip(expected, answers, strict=True)]
        return [matched_share(expected, answers), *each]

    def metric(self, detector: Detector, numbers: Sequence[int]) -> tuple[float, list[float]]:
        """What NNCF compares networks by on pictures of these numbers: all in all (mAP50 with labels), and for each."""
        all_in_all, *each = self.agreements(detector, numbers)
        accuracy = self._accuracy(detector, [self._pictures[number] for number in numbers])
        return (accuracy.map50 / 100 if accuracy else all_in_all), each

    def _accuracy(self, detector: Detector, pictures: Sequence[Path]) -> Accuracy | None:
        labelled = [picture for picture in pictures if picture in self.truths]
        if not labelled:
            return None
        answers = [_answer(detector, picture, MEASURED).detections for picture in labelled]
        return Accuracy(*mean_average_precision([self.truths[each] for each in labelled], answers, self._names))


def quantize(
    exact: Detector,
    calibration: Sequence[Path],
    pictures: Sequence[Path],
    labels: Path | None,
    bound: Bound,
    output: Path,
    say: Say,
) -> Report:
    """Quantizes a model, and writes the folder `output` if its answers stay within `bound`.

    :param exact: the model, loaded with f32.
    :param calibration: pictures like those that it will be asked about. With labels, these should have some, too.
    :param pictures: others, to measure with.
    :param labels: as `read_truths` wants it, or None.
    :param output: the folder to be, whose name is the new model's.
    :param say: is told what is being done.
    :raises QuantizingError: the folder is there, the network can't be quantized, or can't be written.
    :raises PictureError: a picture can't be decoded.
    :raises LabelsError: see `read_truths`.
    """
    require_packages()
    if output.exists():
        raise QuantizingError(f"{output} is there already; remove it, or name another folder with --output")
    calibration = _evenly(calibration, _MOST_CALIBRATION_PICTURES)
    say(f"asking the model in f32 about {len(pictures)} pictures that are not calibrated with")
    judge = Judge(exact, pictures, labels)
    network = _readable(onnx.load(exact.model.path), exact.model)

    tries: list[tuple[Judgement, Detector, str]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, way in enumerate(_WAYS, start=1):
            say(f"try {number} of at most {len(_WAYS)}: {way.words}")
            score = _score(exact, calibration, labels, folder, say) if way.finds_layers else None
            try:
                data = _quantized(network, partial(_blob, exact), calibration, way, score)
            except TimeoutError as error:
                say(f"  {error}")
                continue
            detector = _loaded(data, folder / str(number) / f"{output.name}.onnx", exact)
            judgement = judge.judge(way.words, detector)
            objection = _objection(judgement, judge.accuracy, bound) or _golden_objection(detector)
            tries.append((judgement, detector, objection))
            say(f"  {judgement}{f': {objection}' if objection else ''}")
            if not objection:
                break
        if objection:
            # The one that matched the most.
            judgement, detector, objection = max(tries, key=lambda row: (row[0].accuracy or (0,))[0] + row[0].agreement)
        say("timing both")
        report = Report(
            model=exact.model.name,
            output=str(output),
            processor=this_processor().name,
            adopted=not objection,
            objection=objection,
            calibrated=len(calibration),
            measured=len(pictures),
            labelled=len(judge.truths),
            best=judgement,
            tries=[row[0] for row in tries],
            accuracy=judge.accuracy,
            bytes=exact.model.path.stat().st_size,
            seconds=_seconds(exact, detector),
        )
        if not objection:
            _write(output, data, detector, report)
    return report


def _evenly(items: Sequence[Path], most: int) -> list[Path]:
    """At most so many of `items`, from all over them."""
    if len(items) <= most:
        return list(items)
    return [items[number * len(items) // most] for number in range(most)]


def _answer(detector: Detector, picture: Path, selection: Selection = _COMPARED) -> Answer:
    with _naming(picture):
        return detector.answer(picture.read_bytes(), selection)


def _blob(exact: Detector, picture: Path) -> np.ndarray:
    """The network's input for the file `picture`."""
    with _naming(picture):
        image = decode_image(picture.read_bytes(), exact.settings.max_pixels)
    return to_blob(image, exact.engine.input_size, exact.model.head.fit)


@contextlib.contextmanager
def _naming(picture: Path) -> Iterator[None]:
    """Names the file in what goes wrong with it."""
    try:
        yield
    except (PictureError, OSError) as error:
        raise PictureError(f"{picture} can't be read: {error}; mend or remove it") from error


def _readable(network: onnx.ModelProto, model: PreparedModel) -> onnx.ModelProto:
    """The prepared `network` as NNCF takes it, with all that the reader of ONNX files would have to recognize."""
    if is_quantized(network.graph):
        raise QuantizingError(f"{model.name} is quantized already; name the model that it was made of")
    halves = [tensor.name for tensor in network.graph.initializer if tensor.data_type == TensorProto.FLOAT16]
    if halves:
        raise QuantizingError(
            f"{model.name} has weights of 16 bits; export it with 32 (without half) and quantize that"
        )
    if next(item.version for item in network.opset_import if item.domain in ("", "ai.onnx")) < _LEAST_OPSET:
        network = version_converter.convert_version(network, _LEAST_OPSET)
    for number, node in enumerate(network.graph.node):
        # Layers are left in floating point by their names, which some exporters don't give.
        node.name = node.name or f"{node.op_type}_{number}"
    metadata = {entry.key: entry.value for entry in network.metadata_props}
    labels = json.dumps(model.labels, ensure_ascii=False)
    helper.set_model_props(
        network, {**metadata, "labels": labels, HEAD_KEY: json.dumps(dataclasses.asdict(model.head))}
    )
    return network


def _quantized(
    network: onnx.ModelProto,
    blob: Callable[[Path], np.ndarray],
    pictures: Sequence[Path],
    way: _Way,
    score: _Score | None,
) -> bytes:
    """`network`, quantized in this way.

    :param blob: makes the network's input of one of the `pictures`, which are read again in each pass over them: all
        inputs together may take gigabytes.
    :param score: by what sensitive layers are found, if they are to be.
    """
    # It would tell Google Analytics of each run, unless this can't be had.
    sys.modules["openvino_telemetry"] = None
    import nncf

    decoding, last = decoding_nodes(network.graph)
    if not last:
        raise QuantizingError("the network's boxes depend on no convolution, so there is nothing to quantize")
    names = [node.name for node in (decoding + last if way.is_gentle else decoding)]
    name = network.graph.input[0].name
    calibration = nncf.Dataset(list(pictures), lambda picture: {name: blob(picture)})
    options = {
        "preset": nncf.QuantizationPreset.MIXED if way.is_gentle else nncf.QuantizationPreset.PERFORMANCE,
        # NNCF 3.4 fails to correct biases one after the other where a node has several outputs, such as Split.
        "fast_bias_correction": not way.is_gentle or any(len(node.output) > 1 for node in network.graph.node),
        "subset_size": len(pictures),
        # Nodes of constants alone are unknown to NNCF, and no error.
        "ignored_scope": nncf.IgnoredScope(names=names, validate=False),
    }
    nncf.set_log_level(logging.ERROR)
    copy = onnx.ModelProto()
    copy.CopyFrom(network)
    try:
        # It draws its progress on stdout, where the report goes.
        with contextlib.redirect_stdout(sys.stderr):
            if score is None:
                quantized = nncf.quantize(copy, calibration, **options)
            else:
                quantized = nncf.quantize_with_accuracy_control(
                    copy,
                    calibration,
                    nncf.Dataset(range(len(pictures))),
                    score,
                    # Ways that lose more were tried before: now accuracy comes first.
                    max_drop=0,
                    advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(
                        max_num_iterations=_MOST_FLOAT_LAYERS, ranking_subset_size=_RANKING_PICTURES
                    ),
                    **options,
                )
    except (BarevisionError, TimeoutError):
        raise
    except Exception as error:
        # NNCF raises what it comes across.
        raise QuantizingError(f"NNCF can't quantize the network: {type(error).__name__}: {error}") from error
    rounded = [node.name for node in decoding_nodes(quantized.graph)[0] if node.op_type == "QuantizeLinear"]
    if rounded:
        raise QuantizingError(f"NNCF quantized the decoding ({', '.join(rounded[:3])}), which would misplace boxes")
    _make_unsigned(quantized.graph)
    return quantized.SerializeToString()


def _make_unsigned(graph: onnx.GraphProto) -> None:
    """Writes values of -128 to 127 as 0 to 255, with their zero at 128: the same numbers.

    Of the former, OpenVINO 2026.4 makes the latter itself where a network has a Concat, and gets it wrong: 17 % off
    after it, and every twelfth box another. Values with a scale for each channel, which depthwise convolutions take,
    stay as they are: ONNX Runtime refuses them otherwise.
    """
    # It says the types of the former, which nobody needs.
    del graph.value_info[:]
    zeros = {node.input[2] for node in graph.node if node.op_type == "QuantizeLinear"}
    for tensor in graph.initializer:
        if tensor.name in zeros and tensor.data_type == TensorProto.INT8 and not tensor.dims:
            values = (numpy_helper.to_array(tensor).astype(np.int16) + 128).astype(np.uint8)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _score(exact: Detector, calibration: Sequence[Path], labels: Path | None, folder: Path, say: Say) -> _Score:
    """On pictures that are calibrated with, so that those to measure with stay unseen."""
    try:
        judge = Judge(exact, calibration, labels)
    except LabelsError:
        say("  the pictures to calibrate with have no labels, so boxes are compared with those of f32")
        judge = Judge(exact, calibration, None)

    end = time.monotonic() + _FINDING_SECONDS

    def score(network: onnx.ModelProto, numbers: Sequence[int]) -> tuple[float, list[float]]:
        if time.monotonic() > end:
            minutes = _FINDING_SECONDS / 60
            raise TimeoutError(f"given up: finding sensitive layers takes longer than {minutes:g} minutes")
        path = folder / "candidate.onnx"
        path.write_bytes(network.SerializeToString())
        return judge.metric(_detector(dataclasses.replace(exact.model, path=path), exact.settings), list(numbers))

    return score


def _loaded(data: bytes, path: Path, exact: Detector) -> Detector:
    """The quantized model as whoever names its file gets it."""
    path.parent.mkdir()
    path.write_bytes(data)
    model = prepare(file_source(path), path.parent)
    if (model.labels, model.head) != (exact.model.labels, exact.model.head):
        raise QuantizingError(f"the quantized network is read as {model.head}, not as {exact.model.head}")
    return _detector(dataclasses.replace(model, golden=exact.model.golden), exact.settings)


def _detector(model: PreparedModel, settings: Settings) -> Detector:
    precision = "int8" if is_quantized(onnx.load(model.path).graph) else "f32"
    return Detector(model, load_engine(Plan("openvino", precision, 1, settings.threads), model.path), settings)


def _objection(judgement: Judgement, accuracy: Accuracy | None, bound: Bound) -> str:
    """Why such a quantized model is not good enough; empty if it is."""
    if judgement.accuracy and accuracy:
        lost = accuracy.map50 - judgement.accuracy.map50
        if lost > bound.map50:
            return f"it loses {lost:.2f} points of mAP50, allowed are {bound.map50:g}"
    elif judgement.agreement < bound.agreement:
        return f"{judgement.agreement:.1%} of boxes are matched, expected are {bound.agreement:.1%}"
    return ""


def _golden_objection(detector: Detector) -> str:
    try:
        detector.check()
    except WrongAnswerError as error:
        return str(error)
    return ""


def _seconds(exact: Detector, quantized: Detector) -> dict[str, float]:
    """The median time of an inference by engine and precision: what the quantized model has to compete with."""
    threads, seconds = exact.settings.threads, {}
    plans = [Plan("onnxruntime", "f32", 1, threads)]
    plans += [Plan("openvino", precision, 1, threads) for precision in this_processor().precisions]
    plans += [Plan(engine, "int8", 1, threads) for engine in ("onnxruntime", "openvino")]
    blob = to_blob(drawn_image(), exact.engine.input_size, exact.model.head.fit)
    for plan in plans:
        model = quantized.model if plan.precision == "int8" else exact.model
        with contextlib.suppress(EngineError):
            # An engine that can't do it is not in the table.
            engine = load_engine(plan, model.path)
            engine.infer(blob)
            times, end = [], time.perf_counter() + _TIMED_SECONDS
            while len(times) < 3 or time.perf_counter() < end:
                before = time.perf_counter()
                engine.infer(blob)
                times.append(time.perf_counter() - before)
            seconds[f"{plan.engine} {plan.precision}"] = statistics.median(times)
    return seconds


def _write(output: Path, data: bytes, detector: Detector, report: Report) -> None:
    """Writes the folder `output` beside its place first: it is there with all of its files, or not at all."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}."))
        try:
            beside.chmod(0o755)
            write_whole(beside / f"{output.name}.onnx", data)
            write_whole(beside / "report.json", json.dumps(report.to_json(), indent=1).encode())
            golden = detector.golden_answer()
            if golden is not None:
                write_whole(beside / "golden.jpg", detector.model.golden.picture)
                rows = [detection.to_json() for detection in golden if detection.confidence > Selection.confidence]
                write_whole(beside / "golden.json", json.dumps(rows, indent=1, ensure_ascii=False).encode())
            put_in_place(beside, output)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
    except OSError as error:
        raise QuantizingError(f"{output} can't be written: {error}; name another folder with --output") from error
