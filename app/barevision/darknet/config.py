"""Reads a Darknet ``.cfg`` file as a list of sections, whose options are checked as they are read."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field

from barevision.errors import DarknetError

# Options that change how a network is trained, not what it answers. They are accepted and ignored. Any other option
# that is not known here is an error, because ignoring it could change the answer.
_TRAINING_OPTIONS = {
    "net": (
        "adam angle aspect augment_speed batch blur burn_in color contrastive cutmix decay dynamic_minibatch "
        "ema_alpha exposure flip gamma gaussian_noise hue label_smooth_eps learning_rate letter_box max_batches "
        "max_crop min_crop mixup momentum mosaic mosaic_bound optimized_memory policy power random saturation "
        "scale scales step steps subdivisions time_steps track workspace_size_limit_MB"
    ),
    "convolutional": "stopbackward",
    "dropout": "probability",
    "region": (
        "absolute bias_match class_scale coord_scale focal_loss jitter log map mask_scale max noobject_scale "
        "object_scale random rescore sqrt thresh"
    ),
    "yolo": (
        "beta_nms cls_normalizer counters_per_class delta_normalizer focal_loss ignore_thresh iou_loss "
        "iou_normalizer iou_thresh iou_thresh_kind jitter label_smooth_eps map max max_delta nms_kind "
        "obj_normalizer objectness_smooth random resize show_details thresh truth_thresh"
    ),
}
_INFERENCE_OPTIONS = {
    "net": "width height channels",
    "convolutional": "batch_normalize filters size stride pad padding groups activation",
    "maxpool": "size stride padding",
    "upsample": "stride",
    "shortcut": "from activation",
    "route": "layers groups group_id",
    "dropout": "",
    "reorg": "stride reverse flatten extra",
    "region": "anchors classes coords num softmax background tree classfix",
    "yolo": "mask anchors classes num scale_x_y new_coords",
}
_KNOWN_OPTIONS = {
    kind: frozenset(f"{options} {_TRAINING_OPTIONS.get(kind, '')}".split())
    for kind, options in _INFERENCE_OPTIONS.items()
}


@dataclass(frozen=True)
class Option:
    """One ``name = value`` line."""

    value: str
    line: int


@dataclass(frozen=True)
class Section:
    """One ``[kind]`` section of a ``.cfg`` file. The methods that read an option raise `DarknetError` on a bad value.

    :ivar line: the line of its ``[kind]``.
    :ivar source: the file's name, for error messages.
    """

    kind: str
    line: int
    source: str
    options: dict[str, Option] = field(default_factory=dict)

    def error(self, message: str, line: int | None = None) -> DarknetError:
        """An error placed at `line`, or at the section's own line."""
        return DarknetError(f"{self.source}, line {line or self.line}, [{self.kind}]: {message}")

    def integer(self, name: str, default: int | None = None, minimum: int = 0) -> int:
        """The whole number `name`, at least `minimum`; `default` if it is missing, unless that is None."""
        option = self._option(name, default)
        return default if option is None else self._integer(name, option, option.value, minimum)

    def integers(self, name: str, default: list[int] | None = None) -> list[int]:
        """The comma-separated whole numbers `name`, which may be negative; `default` as in `integer`."""
        option = self._option(name, default)
        if option is None:
            return default
        items = option.value.strip(" ,").split(",")
        return [self._integer(name, option, item, minimum=None) for item in items]

    def numbers(self, name: str) -> list[float]:
        """The comma-separated decimal numbers `name`."""
        option = self._option(name, None)
        return [self._number(name, option, item) for item in option.value.strip(" ,").split(",")]

    def number(self, name: str, default: float) -> float:
        """The decimal number `name`, or `default`."""
        option = self._option(name, default)
        return default if option is None else self._number(name, option, option.value)

    def choice(self, name: str, choices: Collection[str], default: str) -> str:
        """The word `name`, one of `choices`, or `default`."""
        option = self._option(name, default)
        if option is None:
            return default
        if option.value not in choices:
            allowed = ", ".join(sorted(choices))
            raise self.error(f"{name}={option.value!r}, expected one of {allowed}", option.line)
        return option.value

    def line_of(self, name: str) -> int:
        """The line of option `name`, or of the section where the option is missing."""
        option = self.options.get(name)
        return option.line if option else self.line

    def _option(self, name: str, default: object) -> Option | None:
        option = self.options.get(name)
        if option is None and default is None:
            raise self.error(f"option {name!r} is missing")
        return option

    def _integer(self, name: str, option: Option, text: str, minimum: int | None) -> int:
        try:
            value = int(text.strip())
        except ValueError:
            raise self.error(f"{name}={option.value!r}, expected whole numbers", option.line) from None
        if minimum is not None and value < minimum:
            raise self.error(f"{name}={value}, expected a whole number of at least {minimum}", option.line)
        return value

    def _number(self, name: str, option: Option, text: str) -> float:
        try:
            value = float(text.strip())
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self.error(f"{name}={option.value!r}, expected decimal numbers", option.line)
        return value


def parse_config(text: str, source: str) -> list[Section]:
    """The sections of a ``.cfg`` file, [net] first.

    :param text: the file's content.
    :param source: the file's name, for error messages.
    :raises DarknetError: [net] is not the first section, or a line is neither a known section nor a known option.
    """
    sections: list[Section] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.split("#", 1)[0].split(";", 1)[0].strip()
        if not line:
            continue
        if line.startswith("["):
            section = _section(line, number, source)
            if not sections and section.kind != "net":
                raise section.error("expected [net] first")
            if sections and section.kind == "net":
                raise section.error(f"a second [net]; the first is in line {sections[0].line}")
            sections.append(section)
        elif sections:
            _add_option(sections[-1], line, number)
        else:
            raise DarknetError(
                f"{source}, line {number}: {line[:60]!r} comes before the first [section]; is this a .cfg file?"
            )
    if not sections:
        raise DarknetError(f"{source} has no sections, expected [net] first")
    return sections


def _section(line: str, number: int, source: str) -> Section:
    kind = line.strip("[] \t")
    # Darknet takes both names for the first section.
    kind = "net" if kind == "network" else kind
    if kind not in _KNOWN_OPTIONS:
        known = ", ".join(f"[{name}]" for name in sorted(_KNOWN_OPTIONS))
        raise DarknetError(f"{source}, line {number}: unknown section [{kind}], expected one of {known}")
    return Section(kind, number, source)


def _add_option(section: Section, line: str, number: int) -> None:
    name, separator, value = (part.strip() for part in line.partition("="))
    if not separator:
        raise section.error(f"{line[:60]!r}, expected 'option = value'", number)
    if name not in _KNOWN_OPTIONS[section.kind]:
        known = ", ".join(sorted(_KNOWN_OPTIONS[section.kind])) or "none"
        raise section.error(f"unknown option {name!r}, known are: {known}", number)
    if name in section.options:
        raise section.error(f"{name} is given twice, first in line {section.options[name].line}", number)
    section.options[name] = Option(value, number)
