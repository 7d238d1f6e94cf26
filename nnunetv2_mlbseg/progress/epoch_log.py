"""What a method adds to nnU-Net's log: one value per quantity and epoch, as text and as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunetv2_mlbseg.progress.values import DEVIATION
from noise_synthesis.safe_io.files import write_json

Panels = Mapping[str, Mapping[str, str]]
"""Panels of the picture: title, and the quantities in it with the words of their legend."""

Value = float | list[float] | None
"""Of a quantity in an epoch: one number, one per view, or nothing."""


@dataclass(frozen=True)
class Quantities:
    """What is logged of every epoch.

    Attributes:
        panels: Those with one number.
        by_view: Those with one number per view; beside their mean over an epoch's iterations stands how much they vary.
    """

    panels: Panels
    by_view: tuple[str, ...] = ()

    @property
    def in_panels(self) -> tuple[str, ...]:
        """The names of all with one number."""
        return tuple(name for panel in self.panels.values() for name in panel)

    @property
    def names(self) -> tuple[str, ...]:
        """All names, as the log has them."""
        return (*self.in_panels, *self.by_view, *(name + DEVIATION for name in self.by_view))


class EpochLog:
    """Values per epoch; a quantity that a stage does not have is None there, one that diverged is NaN.

    Args:
        values: What :meth:`state` returned, to go on from a checkpoint.
    """

    def __init__(self, quantities: Quantities, values: Mapping[str, Iterable[Value]] | None = None):
        self.quantities = quantities
        self.values: dict[str, list[Value]] = {name: list((values or {}).get(name, [])) for name in quantities.names}

    def state(self) -> dict[str, list[Value]]:
        """Plain lists, for the checkpoint."""
        return {name: list(series) for name, series in self.values.items()}

    def write(self, path: Path, about: Mapping[str, Any]) -> None:
        """Write everything as JSON: ``about``, and under ``values`` one list per quantity with an entry per epoch.

        JSON has no NaN: what diverged is null, as is what a stage does not have.
        """
        write_json(path, {**about, "values": {name: list(map(_finite, s)) for name, s in self.values.items()}})

    def record(self, epoch: int, found: Mapping[str, Any]) -> None:
        """Store the values of an epoch, in place of what was stored for it or for later ones.

        Raises:
            KeyError: a quantity that the method does not name.
        """
        unknown = set(found) - set(self.values)
        if unknown:
            raise KeyError(f"no panel shows {sorted(unknown)}; known quantities: {tuple(self.values)}")
        for name, series in self.values.items():
            del series[epoch:]
            series.extend([None] * (epoch - len(series)))
            series.append(found.get(name))

    def lines(self, epoch: int) -> list[str]:
        """The values of an epoch as log lines, one per panel that has any."""
        lines = []
        for title, panel in self.quantities.panels.items():
            found = {name: self.values[name][epoch] for name in panel}
            shown = [f"{name} {value:.4g}" for name, value in found.items() if isinstance(value, float)]
            if shown:
                lines.append(f"{title}: " + ", ".join(shown))
        return lines


def _finite(value: Value) -> Any:
    if isinstance(value, list):
        return [_finite(number) for number in value]
    return value if value is not None and math.isfinite(value) else None
