"""One table of ratios from the numbers of one run."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import pytest

IN_BFLOAT16 = ", bfloat16"
"""Ends the name of a way."""
SMALL = ("views", "pseudo labels", "consistency")


@dataclass
class Found:
    """Seconds and MiB by name, and seconds by axis and value of the growth."""

    seconds: dict[str, float] = field(default_factory=dict)
    parts: dict[str, float] = field(default_factory=dict)
    overhead: dict[int, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    mebibytes: dict[str, float] = field(default_factory=dict)
    growth: dict[str, dict[float, dict[str, float]]] = field(default_factory=lambda: defaultdict(dict))

    def lines(self) -> list[str]:
        """The table; sections without numbers are left out."""
        return ["", *self._whole(), *self._parts(), *self._epoch(), *self._growth(), *self._overhead()]

    def _whole(self) -> list[str]:
        if "stock" not in self.seconds:
            return []
        stock, lines = self.seconds["stock"], [f"{'way':28}{'seconds':>10}{'x stock':>10}{'peak MiB':>10}"]
        for name, value in self.seconds.items():
            memory = f"{self.mebibytes[name]:10.0f}" if name in self.mebibytes else ""
            lines.append(f"{name:28}{value:10.3f}{value / stock:10.2f}{memory}")
        return [*lines, *self._bfloat16()]

    def _bfloat16(self) -> list[str]:
        pairs = {name: (self.seconds.get(name + IN_BFLOAT16), value) for name, value in self.seconds.items()}
        ratios = [f"{name} {coarse / exact:.2f}" for name, (coarse, exact) in pairs.items() if coarse]
        return ["", f"bfloat16 / float32: {', '.join(ratios)}"] if ratios else []

    def _parts(self) -> list[str]:
        if not self.parts or "whole" not in self.seconds:
            return []
        whole, stock = self.seconds["whole"], self.seconds["stock"]
        lines = ["", f"{'part of the whole step':28}{'seconds':>10}{'x stock':>10}{'share':>10}"]
        for name, value in self.parts.items():
            lines.append(f"{name:28}{value:10.4f}{value / stock:10.3f}{value / whole:10.1%}")
        lines.append(f"{' + '.join(SMALL)}: {sum(self.parts[name] for name in SMALL) / whole:.1%}")
        return lines

    def _epoch(self) -> list[str]:
        if not {"stock", "whole", "stock loading", "our loading"} <= self.seconds.keys():
            return []
        ours = self.seconds["our loading"] + self.seconds["whole"]
        ratio = ours / (self.seconds["stock loading"] + self.seconds["stock"])
        return ["", f"an iteration with loading in the same process: {ratio:.2f} x stock"]

    def _growth(self) -> list[str]:
        lines = ["", f"{'growth with':28}{'stock':>10}{'whole':>10}   (fitted exponents)"] if self.growth else []
        for axis, points in self.growth.items():
            fitted = "".join(f"{exponent(points, way):10.2f}" for way in ("stock", "whole"))
            lines.append(f"{axis:28}{fitted}   at {', '.join(f'{value:g}' for value in points)}")
        return lines

    def _overhead(self) -> list[str]:
        lines = ["", f"{'classes':10}{'networks':>10}{'step':>10}{'beyond the networks':>21}"] if self.overhead else []
        for classes, ways in self.overhead.items():
            alone, whole = ways["networks"], ways["whole"]
            lines.append(f"{classes:<10}{alone:10.3f}{whole:10.3f}{whole / alone - 1:21.1%}")
        return lines


def exponent(points: dict[float, dict[str, float]], way: str) -> float:
    """Slope of log seconds over log value."""
    values = sorted(points)
    return float(np.polyfit(np.log(values), np.log([points[value][way] for value in values]), 1)[0])


FOUND: pytest.StashKey[Found] = pytest.StashKey()
