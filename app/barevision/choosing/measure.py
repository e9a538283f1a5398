"""Tries the plans that this processor has for a model, each in a process of its own, and chooses one.

The machine is rarely quiet. So all plans are tried briefly, those that can't win are left out, and the others take
turns in longer trials, of which the best counts: what else runs here can only make one slower.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import barevision
from barevision.choosing.agreement import PictureAnswer, compare
from barevision.choosing.choice import Trial, choose, is_right
from barevision.choosing.pictures import drawn_pictures
from barevision.choosing.speeds import Measurement, conditions, write_measurement
from barevision.engines import Plan
from barevision.engines.plans import possible_plans
from barevision.engines.processor import Processor, this_processor
from barevision.errors import EngineError
from barevision.models.prepare import PreparedModel
from barevision.settings import Settings

_log = logging.getLogger(__name__)
_ENDING_SECONDS = 5
_NO_TIME = "not tried: there was no time left"
# What others' answers are compared with.
_REFERENCE = ("onnxruntime", "f32")
# Of a plan that reaches less than this share of the fastest's rate twice, other divisions of the cores are not tried.
_HOPELESS = 0.65
# In each further round, plans are tried that reach this share of the fastest's rate, or of the shortest wait.
_ROUNDS = (_HOPELESS, 0.8, 0.9)


@dataclass(frozen=True)
class Effort:
    """How much time measuring may take.

    :ivar budget: seconds in all.
    :ivar first: seconds that the first trial of each engine and precision may take at least, also beyond the budget.
    :ivar seconds: how long each of a plan's speeds is measured in the first round, and in those after it.
    :ivar answers: how many seconds the pictures, on which answers are compared, may take the first engine.
    """

    budget: float
    first: float
    seconds: tuple[float, float]
    answers: float


#: For `barevision models prepare`.
THOROUGH = Effort(55, 60, (0.2, 0.3), 4)
#: The same with the user's own pictures, all of which are answered.
PATIENT = Effort(300, 300, (0.2, 0.3), 300)
#: For a service that starts: Gunicorn waits 60 seconds for it, and the model itself has to be loaded, too.
QUICK = Effort(14, 0, (0.2, 0.3), 1)


@dataclass(frozen=True)
class Task:
    """What a trial's process is given.

    :ivar pictures: encoded, to be answered.
    :ivar answer_seconds: after which no further picture is begun.
    :ivar seconds: how long each of both speeds is measured.
    :ivar timeout: seconds after which the process ends in any case.
    """

    model: PreparedModel
    settings: Settings
    plan: Plan
    pictures: Sequence[bytes]
    answer_seconds: float
    seconds: float
    timeout: float


@dataclass(frozen=True)
class Finding:
    """What a trial's process found; `alone`, `rate` and `memory` as in `Trial`.

    :ivar answers: one for each of the first pictures.
    """

    alone: float
    rate: float
    memory: int
    answers: list[PictureAnswer]


class TrialProcess:
    """Runs trials in a process that stays: starting one takes more than a second. If it ends, another follows."""

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None
        self._files = contextlib.ExitStack()

    def __enter__(self) -> TrialProcess:
        self._said = self._files.enter_context(tempfile.TemporaryFile())
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        self._files.close()

    def __call__(self, task: Task) -> Finding:
        """What the trial finds.

        :raises EngineError: the model does not run by this plan, or not in time.
        """
        if self._process is None:
            self._start()
        is_late = threading.Event()
        timer = threading.Timer(task.timeout, lambda: (is_late.set(), self._process.kill()))
        timer.start()
        try:
            pickle.dump(replace(task, model=replace(task.model, path=task.model.path.absolute())), self._process.stdin)
            self._process.stdin.flush()
            answer = pickle.load(self._process.stdout)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError):
            ended = self._stop()
            raise EngineError(f"no answer in {task.timeout:.0f} seconds" if is_late.is_set() else ended) from None
        finally:
            timer.cancel()
        if is_late.is_set():
            # It was killed just after its answer.
            self._stop()
        if isinstance(answer, str):
            raise EngineError(answer)
        return answer

    def _start(self) -> None:
        # A plain process inherits no socket that this one listens on, and none of its signals' handlers. Imports are
        # looked for in its folder first: this very code tries, whatever else is installed.
        self._said.seek(0)
        self._said.truncate()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "barevision.choosing.trial"],
            cwd=Path(barevision.__file__).resolve().parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
        )

    def _stop(self) -> str:
        """Ends the process, if there is one, and says how it ended."""
        if self._process is None:
            return ""
        self._process.stdin.close()
        try:
            status = self._process.wait(_ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            # A library may hang while it ends.
            self._process.kill()
            status = self._process.wait()
        self._process.stdout.close()
        self._process = None
        self._said.seek(0)
        last = self._said.read().decode(errors="replace").strip().splitlines()[-1:]
        return f"its process ended with status {status}{': ' if last else ''}{''.join(last)}"


def measure(
    model: PreparedModel,
    settings: Settings,
    effort: Effort = THOROUGH,
    pictures: Sequence[bytes] | None = None,
    report: Callable[[Trial], None] = lambda trial: None,
    run: Callable[[Task], Finding] | None = None,
    processor: Processor | None = None,
) -> Measurement:
    """Tries the plans that `settings` leave on this processor, chooses one, and notes it beside the model.

    :param pictures: encoded, to compare answers on; those that come with the package if None.
    :param report: is given each trial when it is done.
    :param run: runs a trial; in a process of its own if None.
    :param processor: this machine's if None.
    :raises EngineError: no plan is left, or none of them runs.
    """
    processor = processor or this_processor()
    plans = wanted_plans(model, settings, processor)
    with contextlib.ExitStack() as stack:
        # One for each engine: what an engine keeps in memory is not counted as another's.
        processes = defaultdict(lambda: stack.enter_context(TrialProcess()))
        pictures = drawn_pictures(model) if pictures is None else pictures
        run = run or (lambda task: processes[task.plan.engine](task))
        trials = _Trials(model, settings, effort, pictures, report, run)
        trials.try_briefly(plans)
        trials.try_again()
    least = settings.agreement if _compares(model, settings) else None
    choice = choose(trials.done, least, model.path.stat().st_size)
    if choice is None:
        problems = {" ".join(_way(trial.plan)): str(trial.problem or trial.agreement) for trial in trials.done}
        words = "; ".join(f"{way}: {problem}" for way, problem in problems.items())
        raise EngineError(f"no way to run {model.name} on this machine answers rightly. {words}")
    measurement = Measurement(conditions(settings, processor), effort.budget > QUICK.budget, choice, trials.done)
    if not write_measurement(model.path, measurement):
        _log.warning("what was measured of %s can't be written, and is measured again next time", model.name)
    return measurement


def wanted_plans(model: PreparedModel, settings: Settings, processor: Processor) -> list[Plan]:
    """The plans for `processor` that `settings` leave.

    :raises EngineError: there is none.
    """
    engine = None if settings.engine == "auto" else settings.engine
    precision = None if settings.precision == "auto" else settings.precision
    if precision == "int8" and not model.quantized:
        raise EngineError(
            f"{model.name} is not quantized, so it can't compute with int8; 'barevision models quantize {model.name}' "
            "makes a model of it that is"
        )
    if model.quantized and (engine == "opencv" or precision not in (None, "int8")):
        raise EngineError(
            f"{model.name} is quantized: onnxruntime and openvino run it, with int8; set engine and precision to auto, "
            "or serve the model that it was made of"
        )
    plans = possible_plans(processor, settings.threads, engine, precision, model.quantized)
    if not plans:
        raise EngineError(f"{engine} computes with f32, not with {precision}; the engine openvino may")
    return plans


def quick_choice(model: PreparedModel, settings: Settings, plans: Sequence[Plan]) -> Plan | None:
    """The one of `plans` for a service that starts where nobody measured; None if it can't be found out."""
    if len(plans) == 1:
        return plans[0]
    began = time.perf_counter()
    try:
        choice = measure(model, settings, QUICK).choice
    except EngineError as error:
        _log.warning("nothing was chosen by measuring: %s", error)
        return None
    _log.info("measured %s in %.0f s: %s", model.name, time.perf_counter() - began, choice.reason)
    return choice.plan


class _Trials:
    """The trials of a model: `done` has the best of each plan."""

    def __init__(
        self,
        model: PreparedModel,
        settings: Settings,
        effort: Effort,
        pictures: Sequence[bytes],
        report: Callable[[Trial], None],
        run: Callable[[Task], Finding],
    ) -> None:
        self._model, self._settings, self._effort = model, settings, effort
        self._pictures, self._report, self._run = pictures, report, run
        self._end = time.monotonic() + effort.budget
        self._trials: dict[Plan, Trial] = {}
        self._expected: list[PictureAnswer] | None = None
        # How long the last trial of each plan took, with what is around it.
        self._took: dict[Plan, float] = {}

    @property
    def done(self) -> list[Trial]:
        return list(self._trials.values())

    def try_briefly(self, plans: Sequence[Plan]) -> None:
        """Tries each plan once, but for those that can't win any more."""
        if _way(plans[0]) != _REFERENCE and _compares(self._model, self._settings):
            with contextlib.suppress(EngineError):
                reference = Plan(*_REFERENCE, 1, self._settings.threads)
                self._expect(self._find(reference, self._pictures, 0, self._effort.first))
        for plan in plans:
            problem = self._reason_against(plan)
            trial = Trial(plan, problem=problem) if problem else self._try(plan, self._effort.seconds[0])
            self._trials[plan] = trial
            if trial.problem is None and self._is_hopeless(trial):
                # Perhaps something else ran on the machine.
                self._trials[plan] = _better(trial, self._try(plan, self._effort.seconds[1]))
            self._report(self._trials[plan])

    def try_again(self) -> None:
        """Tries those again that may be the best, in turns, while there is time."""
        for share in _ROUNDS:
            near = self._near_best(share)
            if len(near) < 2:
                return
            for plan in near:
                if time.monotonic() + self._took[plan] > self._end:
                    return
                self._trials[plan] = _better(self._trials[plan], self._try(plan, self._effort.seconds[1]))

    def _reason_against(self, plan: Plan) -> str | None:
        """Why `plan` is not tried."""
        same = [trial for trial in self.done if _way(trial.plan) == _way(plan)]
        if same and same[0].problem:
            return same[0].problem
        if same and not self._is_right(same[0]):
            return "not tried: its answers are too far from f32's"
        if same and self._is_hopeless(max(same, key=lambda trial: trial.rate)):
            return "not tried: others are much faster"
        is_over = time.monotonic() > self._end and (same or not self._effort.first)
        return _NO_TIME if is_over and self._trials else None

    def _is_hopeless(self, trial: Trial) -> bool:
        return trial.rate < _HOPELESS * max((other.rate for other in self.done), default=0)

    def _try(self, plan: Plan, seconds: float) -> Trial:
        same = [trial for trial in self.done if _way(trial.plan) == _way(plan)]
        began = time.monotonic()
        try:
            finding = self._find(plan, [] if same else self._pictures, seconds, 0 if same else self._effort.first)
        except EngineError as error:
            return Trial(plan, problem=_NO_TIME if time.monotonic() > self._end else f"can't run here: {error}")
        self._took[plan] = time.monotonic() - began
        if _way(plan) == _REFERENCE and not same:
            self._expect(finding)
        agreement = same[0].agreement if same else None
        if not same and self._expected is not None:
            agreement = compare(self._expected, finding.answers)
        return Trial(plan, finding.alone, finding.rate, finding.memory, agreement)

    def _expect(self, finding: Finding) -> None:
        self._expected = finding.answers
        # There was no time for the others.
        self._pictures = self._pictures[: len(finding.answers)]

    def _find(self, plan: Plan, pictures: Sequence[bytes], seconds: float, least: float) -> Finding:
        """What a trial finds, which has the time that is left, and `least` seconds in any case."""
        timeout = max(1, least, self._end - time.monotonic())
        answer_seconds = self._effort.answers if self._expected is None else timeout
        return self._run(Task(self._model, self._settings, plan, pictures, answer_seconds, seconds, timeout))

    def _is_right(self, trial: Trial) -> bool:
        return not _compares(self._model, self._settings) or is_right(trial, self._settings.agreement)

    def _near_best(self, share: float) -> list[Plan]:
        right = [trial for trial in self.done if trial.problem is None and self._is_right(trial)]
        fastest = max((trial.rate for trial in right), default=0)
        ways = {_way(trial.plan) for trial in right if trial.rate >= share * fastest}
        candidates = [trial for trial in right if _way(trial.plan) in ways]
        least = min((trial.alone for trial in candidates), default=0)
        return [t.plan for t in candidates if t.rate >= share * fastest or t.alone * share <= least]


def _compares(model: PreparedModel, settings: Settings) -> bool:
    """Whether answers have to be as f32's: not of a precision that somebody asked for, or quantized a network to."""
    return settings.precision == "auto" and not model.quantized


def _better(trial: Trial, again: Trial) -> Trial:
    """What the plan of both did at its best."""
    if again.problem:
        return trial
    return replace(trial, alone=min(trial.alone, again.alone), rate=max(trial.rate, again.rate))


def _way(plan: Plan) -> tuple[str, str]:
    return plan.engine, plan.precision
