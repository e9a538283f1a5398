"""Reads a Darknet ``.cfg`` file as a list of sections, whose options are checked as they are read."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection
from dataclasses import dataclass, field

from barevision.errors import DarknetError

# Every option is in one of three tables, whose source is Darknet's parser.c (AlexeyAB's and pjreddie's) and what
# test_detector makes of the options there. An option that is in none of them is an error, because ignoring it could
# change the answer.

# What the functions in layers.py and boxes.py heed.
_HEEDED = {
    "net": "width height channels letter_box",
    "convolutional": (
        "batch_normalize cbn filters size stride stride_x stride_y pad padding dilation groups activation share_index"
    ),
    "maxpool": "size stride stride_x stride_y padding",
    "local_avgpool": "size stride stride_x stride_y padding",
    "avgpool": "",
    "upsample": "stride scale",
    "shortcut": "from activation weights_type weights_normalization weights_normalizion",
    "scale_channels": "from activation scale_wh",
    "sam": "from activation",
    "route": "layers groups group_id",
    "activation": "activation",
    "dropout": "",
    "contrastive": "",
    "empty": "",
    "reorg": "stride",
    "reorg3d": "stride",
    "region": "anchors classes coords num softmax",
    "yolo": "mask anchors classes num scale_x_y new_coords",
    "Gaussian_yolo": "mask anchors classes num scale_x_y yolo_point",
}
# What would change the answer and is not supported: each with the value that changes nothing, if there is one.
_UNSUPPORTED = {
    "convolutional": {"antialiasing": "0", "binary": "0", "coordconv": "0", "flipped": "0", "xnor": "0"},
    "maxpool": {"antialiasing": "0", "maxpool_depth": "0", "maxpool_zero_nonmax": "0"},
    "shortcut": {"alpha": "1", "beta": "1"},
    "reorg": {"extra": "0", "flatten": "0", "reverse": "0"},
    "reorg3d": {"reverse": "0"},
    "region": {"background": "0", "classfix": "0", "tree": None},
}
# What only training, drawing or tracking heeds, and nms_kind and beta_nms, in whose place the service's own settings
# choose between boxes that overlap. These are accepted and ignored, however often they are given.
_IGNORED_EVERYWHERE = (
    "burnin_update clip dont_update dontload dontloadscales dontsave learning_rate numload onlyforward smooth "
    "stopbackward train_only_bn truth"
)
_IGNORED_OF_HEADS = (
    "absolute beta1 beta_nms bias_match class_scale cls_normalizer coord_scale counters_per_class delta_normalizer "
    "dets_for_show dets_for_track embedding_layer focal_loss ignore_thresh iou_loss iou_normalizer iou_thresh "
    "iou_thresh_kind jitter label_smooth_eps log map mask_scale max max_delta nms_kind noobject_scale obj_normalizer "
    "object_scale objectness_smooth random rescore resize show_details sim_thresh sqrt thresh track_ciou_norm "
    "track_history_size truth_thresh uc_normalizer"
)
_IGNORED = {
    "net": (
        "B1 B2 adam adversarial_lr angle aspect attention augment_speed badlabels_rejection_percentage batch blur "
        "burn_in center color contrastive contrastive_color contrastive_jit_flip cutmix decay dynamic_minibatch "
        "ema_alpha eps equidistant_point exposure flip gamma gaussian_noise hue input_calibration inputs "
        "label_smooth_eps learning_rate_min loss_scale max_batches max_chart_loss max_crop max_epochs max_ratio "
        "min_crop min_ratio mixup momentum mosaic mosaic_bound notruth num_sigmas_reject_badlabels optimized_memory "
        "policy power random resize_step saturation scale scales seen seq_scales sequential_subdivisions sgdr_cycle "
        "sgdr_mult show_receptive_field small_object step steps subdivisions time_steps track try_fix_nan "
        "unsupervised use_cuda_graph weights_reject_freq workspace_size_limit_MB"
    ),
    "convolutional": (
        "angle assisted_excitation bin_output dot grad_centr reverse rotate stream stretch stretch_sway "
        "sway wait_stream"
    ),
    "maxpool": "out_channels",
    "route": "stream wait_stream",
    "dropout": "dropblock dropblock_size_abs dropblock_size_rel probability",
    "contrastive": "classes cls_normalizer contrastive_neg_max max_delta temperature yolo_layer",
    "region": _IGNORED_OF_HEADS,
    "yolo": _IGNORED_OF_HEADS,
    "Gaussian_yolo": _IGNORED_OF_HEADS,
}
# Darknet takes both names for each.
_OTHER_NAMES = {
    "network": "net",
    "conv": "convolutional",
    "max": "maxpool",
    "avg": "avgpool",
    "local_avg": "local_avgpool",
    "silence": "empty",
}
# Darknet's other sections.
_UNSUPPORTED_SECTIONS = (
    "batchnorm conn connected conv_lstm cost crnn crop detection gru history implicit local lrn lstm "
    "normalization rnn soft softmax"
)

# As in Darknet.
_LARGEST_INTEGER = 2**31 - 1


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
        if abs(value) > _LARGEST_INTEGER:
            raise self.error(f"{name}={value}, expected a whole number of at most {_LARGEST_INTEGER}", option.line)
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
    # Not str.splitlines, which ends a line at more characters than an editor shows as an end.
    for number, raw in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), start=1):
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
    kind = _OTHER_NAMES.get(kind, kind)
    if kind in _UNSUPPORTED_SECTIONS.split():
        raise DarknetError(
            f"{source}, line {number}: [{kind}] is not supported; YOLOv1 has it, or a network that does more than find "
            "objects on one image"
        )
    if kind not in _HEEDED:
        known = ", ".join(f"[{name}]" for name in sorted(_HEEDED))
        raise DarknetError(f"{source}, line {number}: unknown section [{kind}], expected one of {known}")
    return Section(kind, number, source)


def _add_option(section: Section, line: str, number: int) -> None:
    name, separator, value = (part.strip() for part in line.partition("="))
    if not separator:
        raise section.error(f"{line[:60]!r}, expected 'option = value'", number)
    heeded, unsupported = _HEEDED[section.kind].split(), _UNSUPPORTED.get(section.kind, {})
    if name in unsupported:
        if value != unsupported[name]:
            raise section.error(f"{name}={value[:60]} is not supported; it changes what the network answers", number)
    elif name in heeded:
        if name in section.options:
            raise section.error(f"{name} is given twice, first in line {section.options[name].line}", number)
        section.options[name] = Option(value, number)
    elif name not in f"{_IGNORED.get(section.kind, '')} {_IGNORED_EVERYWHERE}".split():
        similar = difflib.get_close_matches(name, heeded, n=1)
        raise section.error(
            f"unknown option {name!r}, known are: {', '.join(sorted(heeded)) or 'none'}; "
            + (f"did you mean {similar[0]!r}?" if similar else "if only training heeds it, remove the line"),
            number,
        )
