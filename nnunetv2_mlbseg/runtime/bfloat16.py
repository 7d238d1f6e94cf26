"""Whether the processor computes in bfloat16, a number of 16 bits with the range of float32 and 8 binary digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

INSTRUCTIONS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""As Linux and torch call them; the last one is Arm's."""
CPUINFO = Path("/proc/cpuinfo")
PROBES = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")


def has_bfloat16() -> bool:
    """Whether torch or Linux names such an instruction. Without any, torch converts numbers, which is slow."""
    return bool(INSTRUCTIONS & (_named_by_torch() | _named_by_linux())) or any(_probed())


def _named_by_torch() -> set[str]:
    """Empty before the releases that list them."""
    capabilities: Any = getattr(torch.cpu, "get_capabilities", dict)()
    return {name for name, there in capabilities.items() if there is True}


def _probed() -> list[bool]:
    """x86 only; releases of torch have one, both or none of these."""
    return [bool(getattr(torch.cpu, name, bool)()) for name in PROBES]


def _named_by_linux() -> set[str]:
    """Of the first processor; empty on other systems."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    named = (line.partition(":")[2] for line in lines if line.startswith(("flags", "Features")))
    return set(next(named, "").split())
