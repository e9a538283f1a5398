"""The processor that networks run on here: what it can compute with, and how many of its cores are ours."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from barevision.engines import Precision

_CPUINFO = Path("/proc/cpuinfo")
# By the name of one of these, Linux says that the processor computes with the precision: x86 first, then arm64. A
# precision that it only converts from and to is slower than f32.
_FLAGS: dict[Precision, frozenset[str]] = {
    "bf16": frozenset({"amx_bf16", "avx512_bf16", "bf16"}),
    "f16": frozenset({"amx_fp16", "avx512_fp16", "asimdhp"}),
}
#: What decides how fast a network runs, beside the processor's name: a host may hide some of it from its machines.
SPEED_FLAGS = frozenset(
    {"avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16"}
    | {"amx_tile", "amx_bf16", "amx_int8", "amx_fp16"}
    | {"asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2"}
)


@dataclass(frozen=True)
class Processor:
    """A processor as Linux describes it.

    :ivar flags: what it can do beyond the least, in Linux's words, such as avx512_bf16.
    :ivar cores: how many of its cores this process may use.
    """

    name: str
    flags: frozenset[str]
    cores: int

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """What it computes with, f32 first."""
        return ("f32", *(precision for precision, flags in _FLAGS.items() if flags & self.flags))


def this_processor() -> Processor:
    """The processor of this machine. One without a name in /proc/cpuinfo is called by its numbers there."""
    # All cores are alike; of equal lines the last counts.
    fields = dict(re.findall(r"^(.+?)[ \t]*: (.*)$", _CPUINFO.read_text("utf-8"), re.MULTILINE))
    numbers = " ".join(fields[name] for name in ("CPU implementer", "CPU part") if name in fields)
    flags = fields.get("flags") or fields.get("Features") or ""
    return Processor(fields.get("model name") or numbers, frozenset(flags.split()), len(os.sched_getaffinity(0)))
