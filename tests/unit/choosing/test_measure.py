"""Which plans are tried and how long, with a faked clock of engines; and real trials in real processes."""

from __future__ import annotations

import os
import socket
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from barevision.choosing.agreement import PictureAnswer, best_scores
from barevision.choosing.measure import (
    QUICK,
    THOROUGH,
    Effort,
    Finding,
    Task,
    TrialProcess,
    measure,
    quick_choice,
    wanted_plans,
)
from barevision.choosing.pictures import drawn_pictures
from barevision.choosing.speeds import known_measurement
from barevision.choosing.trial import run_trial
from barevision.detection.network_output import Head
from barevision.engines import Plan, load_engine
from barevision.engines.processor import Processor
from barevision.errors import EngineError, WrongAnswerError
from barevision.models.catalogue import find_source
from barevision.models.prepare import PreparedModel, prepare
from barevision.objects import Detection
from barevision.settings import Settings, load_settings

AMX = Processor("Xeon", frozenset({"avx2", "amx_bf16", "avx512_fp16"}), 2)
OLD = Processor("old", frozenset({"avx2"}), 2)
CAT = Detection((10, 20, 100, 50), (1, 2, 3), "cat", 0.9)


@pytest.fixture
def model(tmp_path: Path) -> PreparedModel:
    path = tmp_path / "mine-0123.onnx"
    path.write_bytes(bytes(1000))
    return PreparedModel("mine", path, ["cat"], None, False, Head())


def settings(**values: object) -> Settings:
    return load_settings(**{"engine": "auto", "precision": "auto", "threads": 2, **values})


class FakeMachine:
    """Runs plans as fast as `rates` say by engine and precision, and notes the tasks."""

    def __init__(self, rates: dict[str, float], wrong: str = "", broken: str = "") -> None:
        self._rates, self._wrong, self._broken = rates, wrong, broken
        self.tasks: list[Task] = []

    def __call__(self, task: Task) -> Finding:
        self.tasks.append(task)
        way = f"{task.plan.engine} {task.plan.precision}"
        if way == self._broken:
            raise EngineError("its process ended with status -4")
        rate = self._rates[way] / (1 if task.plan.streams == 2 else 1.5)
        rows = np.zeros((1, 5), np.float32)
        answer = PictureAnswer([] if way == self._wrong else [CAT], best_scores(rows))
        return Finding(0.004 / task.plan.threads, rate, 10**8, [answer] * len(task.pictures))

    def tried(self) -> list[str]:
        plans = [task.plan for task in self.tasks]
        return list(dict.fromkeys(f"{p.engine} {p.precision} {p.streams}x{p.threads}" for p in plans))


RATES = {"onnxruntime f32": 100, "openvino f32": 110, "openvino bf16": 250, "openvino f16": 20}


def test_all_that_may_win_is_tried_and_the_fastest_known_from_then_on(model: PreparedModel) -> None:
    machine, reported = FakeMachine(RATES), []
    found = measure(model, settings(), report=reported.append, run=machine, processor=AMX)
    # A lone picture would wait twice as long on one core.
    assert found.choice.plan == Plan("openvino", "bf16", 2, 1, lone_threads=2, processes=2)
    assert machine.tried() == [
        *("onnxruntime f32 2x2", "openvino bf16 2x1", "openvino bf16 1x2", "openvino f32 2x1", "openvino f16 2x1"),
    ]
    problems = {(trial.plan.precision, trial.plan.streams): trial.problem for trial in found.trials if trial.problem}
    assert problems == {
        ("f32", 1): "not tried: others are much faster",
        ("f32", 2): "not tried: others are much faster",
        ("f16", 1): "not tried: others are much faster",
    }
    assert [trial.plan for trial in reported] == [trial.plan for trial in found.trials]
    assert known_measurement(model.path, settings(), AMX) == found
    assert found.thorough


def test_a_processor_is_tried_with_nothing_that_it_lacks(model: PreparedModel) -> None:
    machine = FakeMachine(RATES)
    assert measure(model, settings(), run=machine, processor=OLD).choice.plan.precision == "f32"
    assert {task.plan.precision for task in machine.tasks} == {"f32"}


def test_wrong_answers_end_the_trials_of_a_precision(model: PreparedModel) -> None:
    machine = FakeMachine(RATES, wrong="openvino bf16")
    found = measure(model, settings(), run=machine, processor=AMX)
    assert found.choice.plan.precision == "f32"
    assert "openvino bf16 1x2" not in machine.tried()
    (trial,) = [trial for trial in found.trials if trial.plan == Plan("openvino", "bf16", 1, 2)]
    assert trial.problem == "not tried: its answers are too far from f32's"
    # Whoever names a precision gets it.
    assert measure(model, settings(precision="bf16"), run=machine, processor=AMX).choice.plan.precision == "bf16"


def test_what_can_not_run_here_is_a_line_in_the_table(model: PreparedModel) -> None:
    found = measure(model, settings(), run=FakeMachine(RATES, broken="openvino bf16"), processor=AMX)
    problems = [trial.problem for trial in found.trials if trial.plan.precision == "bf16"]
    assert problems == ["can't run here: its process ended with status -4"] * 2
    assert found.choice.plan.engine == "onnxruntime"


def test_others_are_compared_with_onnx_runtime_also_where_it_is_not_wanted(model: PreparedModel) -> None:
    machine = FakeMachine(RATES, wrong="openvino bf16")
    found = measure(model, settings(engine="openvino"), run=machine, processor=AMX)
    assert found.choice.plan == Plan("openvino", "f32", 2, 1)
    assert {trial.plan.engine for trial in found.trials} == {"openvino"}
    alone = FakeMachine(RATES, broken="onnxruntime f32")
    assert measure(model, settings(engine="openvino"), run=alone, processor=AMX).choice.plan.precision == "f32"


def test_nothing_that_runs_is_an_error_that_says_why(model: PreparedModel) -> None:
    machine = FakeMachine(RATES, broken="onnxruntime f32")
    with pytest.raises(EngineError, match=r"no way to run mine .* onnxruntime f32: can't run here: its process ended"):
        measure(model, settings(engine="onnxruntime"), run=machine, processor=AMX)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"precision": "int8"}, "mine is not quantized, so it can't compute with int8"),
        ({"engine": "onnxruntime", "precision": "bf16"}, "onnxruntime computes with f32, not with bf16"),
    ],
)
def test_a_precision_that_can_not_be_is_refused(model: PreparedModel, values: dict, words: str) -> None:
    with pytest.raises(EngineError, match=words):
        measure(model, settings(**values), run=FakeMachine(RATES), processor=AMX)


def test_when_time_is_over_nothing_more_is_tried(model: PreparedModel) -> None:
    machine = FakeMachine(RATES)
    found = measure(model, settings(), replace(QUICK, budget=0), run=machine, processor=AMX)
    assert machine.tried() == ["onnxruntime f32 2x2"]
    assert {trial.problem for trial in found.trials[1:]} == {"not tried: there was no time left"}
    assert not found.thorough


def test_the_drawn_pictures_are_the_same_each_time_and_few() -> None:
    model = prepare(find_source("roadsigns"), load_settings().models_dir)
    pictures = drawn_pictures(model)
    assert pictures == drawn_pictures(model)
    assert pictures[0] == model.golden.picture
    assert 6 <= len(set(pictures)) == len(pictures) <= 10


@pytest.fixture(scope="module")
def roadsigns_model(tmp_path_factory: pytest.TempPathFactory) -> PreparedModel:
    return prepare(find_source("roadsigns"), tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_real_trial_of_the_embedded_model(roadsigns_model: PreparedModel, engine: str) -> None:
    pictures = [roadsigns_model.golden.picture]
    with TrialProcess() as run:
        for streams in (1, 2):
            found = run(Task(roadsigns_model, settings(), Plan(engine, "f32", streams), pictures, 60, 0.1, 60))
            labels = [detection.label for detection in found.answers[0].detections if detection.confidence > 0.5]
            assert labels == [detection.label for detection in roadsigns_model.golden.expected]
            assert found.alone > 0
            assert found.rate > 0
            assert found.memory > 20e6


def test_what_misses_the_golden_image_can_not_be_chosen(
    roadsigns_model: PreparedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The processor need not have the precision: an engine claims it."""
    real = load_engine(Plan(), roadsigns_model.path)
    elephant = replace(roadsigns_model.golden.expected[0], label="elephant")
    model = replace(roadsigns_model, golden=replace(roadsigns_model.golden, expected=[elephant]))
    for precision in ("f32", "f16"):
        plan = Plan("openvino", precision)
        engine = SimpleNamespace(plan=plan, input_size=real.input_size, infer=real.infer)
        monkeypatch.setattr("barevision.choosing.trial.load_engine", lambda plan, path, engine=engine: engine)
        task = Task(model, settings(), plan, drawn_pictures(model), 1, 0.01, 60)
        with pytest.raises(WrongAnswerError, match="missing: elephant") if precision == "f16" else nullcontext():
            run_trial(task)


def test_a_trials_process_has_no_socket_of_this_one(roadsigns_model: PreparedModel) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, TrialProcess() as run:
        os.set_inheritable(listener.fileno(), True)
        run(Task(roadsigns_model, settings(), Plan(), [], 1, 0.01, 60))
        folder = Path(f"/proc/{run._process.pid}/fd")
        assert not [path for path in folder.iterdir() if os.readlink(path).startswith("socket:")]  # noqa: PTH115


def test_a_trial_that_fails_or_takes_too_long_says_so_and_the_next_one_runs(roadsigns_model: PreparedModel) -> None:
    task = Task(roadsigns_model, settings(), Plan(), [], 1, 0.01, 60)
    with TrialProcess() as run:
        with pytest.raises(EngineError, match=r"ONNX Runtime can't load .*missing\.onnx"):
            run(replace(task, model=replace(roadsigns_model, path=Path("/missing.onnx"))))
        with pytest.raises(EngineError, match="no answer in 0 seconds"):
            run(replace(task, seconds=60, timeout=0.3))
        with pytest.raises(EngineError, match="its process ended with status 1: TypeError"):
            run(replace(task, plan=replace(task.plan, engine=None, lone_threads=object())))
        assert run(task).rate > 0


def test_a_service_that_starts_measures_only_where_there_is_a_choice(
    roadsigns_model: PreparedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def note(model: PreparedModel, _settings: Settings, effort: Effort) -> None:
        asked.append(effort)
        raise EngineError("none")

    monkeypatch.setattr("barevision.choosing.measure.measure", note)
    fixed = settings(engine="onnxruntime", threads=1)
    assert quick_choice(roadsigns_model, fixed, wanted_plans(roadsigns_model, fixed, AMX)) == Plan()
    assert asked == []
    assert quick_choice(roadsigns_model, settings(), wanted_plans(roadsigns_model, settings(), AMX)) is None
    assert asked == [QUICK]


def test_a_slow_network_answers_fewer_pictures(roadsigns_model: PreparedModel) -> None:
    pictures = drawn_pictures(roadsigns_model)
    with TrialProcess() as run:
        found = run(Task(roadsigns_model, settings(), Plan(), pictures, 0, 0.01, 60))
        assert len(found.answers) == 1
        found = run(Task(roadsigns_model, settings(), Plan(), pictures, 60, 0.01, 60))
        assert len(found.answers) == len(pictures)


def test_those_near_the_best_take_turns_and_the_best_of_each_counts(model: PreparedModel) -> None:
    machine = FakeMachine(RATES)
    slowed: list[Plan] = []

    def run(task: Task) -> Finding:
        """The first time that bf16 runs, something else takes half of the machine."""
        finding = machine(task)
        if task.plan.precision == "bf16" and task.plan not in slowed:
            slowed.append(task.plan)
            return replace(finding, rate=finding.rate / 2)
        return finding

    found = measure(model, settings(), run=run, processor=AMX)
    rates = {(trial.plan.precision, trial.plan.streams): trial.rate for trial in found.trials}
    assert rates["bf16", 2] == 250
    assert found.choice.plan.precision == "bf16"
    plans = [task.plan.precision for task in machine.tasks if task.seconds == THOROUGH.seconds[1]]
    assert plans.count("bf16") == 6
    assert plans.count("f16") == 1


def test_a_quantized_model_is_run_with_int8_by_whoever_is_faster(model: PreparedModel) -> None:
    machine = FakeMachine({"openvino int8": 100, "onnxruntime int8": 200})
    found = measure(replace(model, quantized=True), settings(), run=machine, processor=AMX)
    assert (found.choice.plan.engine, found.choice.plan.precision) == ("onnxruntime", "int8")


@pytest.mark.parametrize("values", [{"precision": "f32"}, {"engine": "opencv"}])
def test_a_quantized_model_is_run_with_nothing_else(model: PreparedModel, values: dict) -> None:
    with pytest.raises(EngineError, match="mine is quantized: onnxruntime and openvino run it, with int8"):
        measure(replace(model, quantized=True), settings(**values), run=FakeMachine(RATES), processor=AMX)
