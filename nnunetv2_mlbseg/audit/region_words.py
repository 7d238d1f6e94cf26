"""What is wrong with a label at a region, in words that a physician reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MOST_SHOWN = 10
SMALL_SHARE = 0.05
"""Regions below this share of the largest one of their case are small."""
UP_TO = 1.5
"""The largest shift is told as well where it is at least so many times the mean one."""


def in_words(region: Mapping[str, Any]) -> str:
    """One phrase for a row of ``regions`` in ``audit.json``, such as "missing on slices 3 to 7".

    It names structures as dataset.json does, underscores as spaces, and counts slices as the tables do, from 0.
    """
    given, proposed = (plain(region[key]) for key in ("given", "proposed"))
    where = _slices(*region["slices"])
    if region["kind"] == "other class":
        return f"{given} that is probably {proposed}, {where}"
    if region["kind"] == "missing":
        return f"{proposed} missing {where}" if region["whole_slices"] else f"part of {proposed} missing {where}"
    if region["kind"] == "surplus":
        end = "where none is expected" if region["whole_slices"] else "apart from the rest"
        return f"{given} drawn {where}, {end}"
    small = region["shift_mm"] > 0
    name, side = (proposed, "small") if small else (given, "large")
    return f"{name} drawn {_amount(abs(region['mean_shift_mm']), abs(region['shift_mm']))} too {side} {where}"


def plain(name: str) -> str:
    """The name of a structure as text."""
    return name.replace("_", " ")


def shown(volumes_mm3: Sequence[float]) -> int:
    """How many of a case's regions, largest first, are shown at once; the others are small.

    One small region alone is shown: a line about it would take as much room.
    """
    least = SMALL_SHARE * max(volumes_mm3, default=0.0)
    large = min(MOST_SHOWN, sum(volume >= least for volume in volumes_mm3))
    return len(volumes_mm3) if len(volumes_mm3) - large == 1 else large


def _slices(first: int, last: int) -> str:
    if first == last:
        return f"on slice {first}"
    return f"on slices {first} {'and' if last == first + 1 else 'to'} {last}"


def _amount(mean_mm: float, most_mm: float) -> str:
    about = f"about {mean_mm:.1f} mm"
    return f"{about} (up to {most_mm:.1f} mm)" if most_mm >= UP_TO * mean_mm else about
