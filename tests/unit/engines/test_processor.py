"""Processors as Linux describes them, and what each computes with."""

from __future__ import annotations

from pathlib import Path

import pytest

from barevision.engines import Precision, processor
from barevision.engines.processor import Processor, this_processor

# What Linux says of a core; the last of a file counts, as all are alike.
SAPPHIRE_RAPIDS = """\
processor\t: 1
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz
flags\t\t: fpu sse4_2 avx2 avx512f avx512_vnni avx512_bf16 avx512_fp16 amx_bf16 amx_tile amx_int8
"""
HASWELL = "model name\t: Intel(R) Xeon(R) CPU @ 2.30GHz\nflags\t\t: fpu sse4_2 avx avx2 fma f16c\n"
AXION = """\
processor\t: 0
Features\t: fp asimd fphp asimdhp asimddp sve i8mm bf16
CPU implementer\t: 0x41
CPU part\t: 0xd4f
"""
ALTRA = "Features\t: fp asimd fphp asimdhp asimddp\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n"


@pytest.mark.parametrize(
    ("text", "name", "precisions"),
    [
        (SAPPHIRE_RAPIDS, "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz", ("f32", "bf16", "f16")),
        # It converts from and to f16, and computes in f32.
        (HASWELL, "Intel(R) Xeon(R) CPU @ 2.30GHz", ("f32",)),
        (AXION, "0x41 0xd4f", ("f32", "bf16", "f16")),
        (ALTRA, "0x41 0xd0c", ("f32", "f16")),
        ("nothing that we know", "", ("f32",)),
    ],
)
def test_a_processor_computes_with_what_linux_says(
    text: str, name: str, precisions: tuple[Precision, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "cpuinfo")
    found = this_processor()
    assert (found.name, found.precisions) == (name, precisions)
    assert found.cores >= 1


def test_this_machine_has_a_name() -> None:
    assert this_processor().name


def test_f32_needs_nothing() -> None:
    assert Processor("old", frozenset(), 1).precisions == ("f32",)
