"""Reading a .weights file: its two headers, and that a file that does not fit is refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from barevision.darknet.weights import Weights
from barevision.errors import DarknetError
from tests.support.darknet_files import TINY_CFG, build, error_of, weights_for


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda data: data[:-4],
            r"a.cfg, line 17, \[convolutional\]: .*112 floats are needed for the kernel, 111 are left",
        ),
        (
            lambda data: data[:60],
            r"a.cfg, line 5, \[convolutional\]: .*8 floats are needed for the batch norm scales, 2 are left",
        ),
        (lambda data: data + bytes(8), r"2 floats are left over"),
        (lambda data: data[:-3], r"not a whole number of floats"),
        (lambda data: data[:10], r"10 bytes, too few for the header"),
        (lambda data: b"", r"0 bytes, too few for the header"),
        (lambda data: b"<!DOCTYPE html><html><body>moved</body></html>", r"is an HTML page"),
        (lambda data: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", r"is a Git LFS pointer"),
        (lambda data: b"PK\x03\x04" + data, r"is a zip archive"),
        (lambda data: b"\x07\x00\x00\x00" + data[4:], r"version 7.2, expected 0.0, 0.1 or 0.2"),
        (lambda data: bytes(len(data) - 4), r"begins with nothing but zeros"),
        # What a text editor makes of it: every byte above 127 became a replacement character.
        (lambda data: data.decode("utf-8", "replace").encode(), r"floats|too few|version"),
        (lambda data: data[:20] + b"\x00\x00\xc0\x7f" + data[24:], r"damaged: not all of the biases .* are finite"),
        (lambda data: data[:116] + b"\x00\x00\x80\xbf" + data[120:], r"variance is -1"),
        (lambda data: data[:116] + np.float32(-2e-5).tobytes() + data[120:], r"variance is -2e-05"),
    ],
)
def test_bad_weights_are_an_error_that_says_what_was_expected(
    tmp_path: Path, change: Callable[[bytes], bytes], words: str
) -> None:
    path = weights_for(TINY_CFG, tmp_path / "net.weights")
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DarknetError, match=words) as raised:
        build(TINY_CFG, Weights(path))
    assert "net.weights" in str(raised.value)


def test_a_kernel_whose_size_does_not_fit_into_64_bits_is_an_error_too(tmp_path: Path) -> None:
    path = weights_for(TINY_CFG, tmp_path / "net.weights")
    message = error_of(build, TINY_CFG.replace("size=3", "size=2147483647"), Weights(path))
    assert "110680464339178094616 floats are needed for the kernel" in message


@pytest.mark.parametrize("minor", [b"\0", b"\1"])
def test_the_old_header_is_four_bytes_shorter(tmp_path: Path, minor: bytes) -> None:
    """Darknet wrote version 0.1; converters from other frameworks write 0.0."""
    path = weights_for(TINY_CFG, tmp_path / "new.weights")
    old = tmp_path / "old.weights"
    old.write_bytes(b"\0\0\0\0" + minor + b"\0\0\0\0\0\0\0\0\0\0\0" + path.read_bytes()[20:])
    assert build(TINY_CFG, Weights(old)) == build(TINY_CFG, Weights(path))
