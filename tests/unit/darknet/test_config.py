"""Reading a .cfg file: what is accepted, and that every error names the file and the line."""

from __future__ import annotations

import re

import pytest

from barevision.darknet.config import parse_config
from tests.support.darknet_files import TINY_CFG, build, error_of, error_with


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("[maxpool]", "[lstm]", 13, "[lstm] is not supported; YOLOv1 has it"),
        ("[net]", "[convolutional]", 1, "expected [net] first"),
        ("[maxpool]", "[net]\nwidth=64\n[maxpool]", 13, "a second [net]; the first is in line 1"),
        ("stride=2\npad", "stirde=2\npad", 9, "unknown option 'stirde', known are: activation, batch_normalize, "),
        ("stride=2\npad", "stirde=2\npad", 9, "did you mean 'stride'?"),
        ("stride=2\npad", "step=2\npad", 9, "unknown option 'step'"),
        ("num=3", "num=3\nscale_xy=1.05", 29, "did you mean 'scale_x_y'?"),
        ("width=64", "width=64\nletterbox=1", 3, "did you mean 'letter_box'?"),
        ("stride=2\npad", "stride=2\nxnor=1\npad", 10, "xnor=1 is not supported; it changes what the network answers"),
        ("[maxpool]", "[maxpool]\nantialiasing=2", 14, "antialiasing=2 is not supported"),
        ("[maxpool]", "[convolution]", 13, "unknown section [convolution], expected one of"),
        ("filters=8", "filters=9\nfilters=8", 8, "filters is given twice, first in line 7"),
        ("filters=8", "filters 8", 7, "expected 'option = value'"),
        ("anchors = 4,6, 10,12, 20,30\n", "", 24, "option 'anchors' is missing"),
        ("activation=leaky", "activation=lekay", 11, "activation='lekay', expected one of elu, leaky, linear"),
        ("filters=8", "filters=eight", 7, "filters='eight', expected whole numbers"),
        ("filters=8", "filters=0", 7, "filters=0, expected a whole number of at least 1"),
        ("stride=2\npad", f"stride={2**70}\npad", 9, "expected a whole number of at most 2147483647"),
        ("20,30", "20,nan", 26, "expected decimal numbers"),
        ("num=3", "num=3\nscale_x_y=1e999", 29, "expected decimal numbers"),
    ],
)
def test_an_error_names_file_line_and_what_was_expected(old: str, new: str, line: int, words: str) -> None:
    message = error_with(old, new)
    assert re.match(rf"a\.cfg, line {line}\b", message)
    assert words in message


def test_a_text_that_is_not_a_configuration_is_refused() -> None:
    assert "before the first [section]" in error_of(parse_config, "<!DOCTYPE html>\n<html>", "a.cfg")
    assert "no sections" in error_of(parse_config, "", "a.cfg")


def test_comments_and_spaces_are_ignored() -> None:
    noisy = re.sub(r"(?m)^(\w+)=", r"  \1 = ", TINY_CFG).replace("[yolo]", "# the head\n; really\n[yolo]  # here")
    assert build(noisy) == build(TINY_CFG)


def test_a_comment_may_hold_any_character() -> None:
    """Some of them end a line for Python, and none of these does for an editor."""
    noisy = TINY_CFG.replace("[yolo]", "# t\xeate \x85 \x0b \x0c \x1c \u2028 \ufffd\n[yolo]").replace("\n", "\r\n")
    assert build(noisy) == build(TINY_CFG)
    assert build(noisy.replace("\r\n", "\r")) == build(TINY_CFG)


IN_EVERY_SECTION = (
    "stopbackward onlyforward dont_update dontload dontloadscales train_only_bn clip learning_rate burnin_update "
    "dontsave numload truth smooth"
)


@pytest.mark.parametrize(
    ("section", "options"),
    [
        ("net", f"{IN_EVERY_SECTION} batch subdivisions burn_in max_batches policy steps scales seq_scales sgdr_cycle"),
        (
            "net",
            "show_receptive_field max_chart_loss use_cuda_graph loss_scale resize_step adversarial_lr attention B1 eps",
        ),
        (
            "net",
            "contrastive_jit_flip unsupervised weights_reject_freq badlabels_rejection_percentage max_epochs center",
        ),
        ("convolutional", f"{IN_EVERY_SECTION} assisted_excitation grad_centr stream wait_stream rotate sway dot"),
        ("maxpool", IN_EVERY_SECTION),
        ("yolo", f"{IN_EVERY_SECTION} jitter ignore_thresh truth_thresh random iou_thresh uc_normalizer beta1 map"),
        ("yolo", "nms_kind beta_nms track_history_size sim_thresh dets_for_track dets_for_show embedding_layer resize"),
    ],
)
def test_what_changes_no_answer_is_ignored_however_often_it_is_said(section: str, options: str) -> None:
    lines = "".join(f"{option}=1\n{option}=0.5, 2\n" for option in options.split())
    assert build(TINY_CFG.replace(f"[{section}]\n", f"[{section}]\n{lines}", 1)) == build(TINY_CFG)


def test_an_option_that_is_not_supported_may_say_that_it_is_not_used() -> None:
    unused = TINY_CFG.replace("pad=1", "pad=1\nxnor=0\nbinary=0\nflipped=0\nantialiasing=0", 1)
    assert build(unused) == build(TINY_CFG)


def test_sections_have_the_other_names_that_darknet_knows() -> None:
    other = TINY_CFG.replace("[net]", "[network]").replace("[convolutional]", "[conv]").replace("[maxpool]", "[max]")
    assert build(other.replace("[yolo]", "[silence]\n[yolo]")) == build(TINY_CFG)
