"""How the labels of each source err, in words: from what one audited label is beside the likely one, over its cases.

An error is named where the cases of a source show it together: where a 95 % bootstrap interval over them (Efron 1979)
leaves out that nothing is wrong. Errors that differ from case to case cancel out, and so do the network's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]

NO_ERROR = "no typical error found"

FEWEST_CASES = 3
"""That a typical error is looked for in: two cases err alike half of the time."""

LEAST_MM = 0.05
"""A smaller shift would be written as 0.0 mm."""

LEAST_CONFUSED = 0.05
"""Of a class: classes that touch are never told apart to the last voxel."""

LEAST_AREA = 0.1
"""Of a structure's largest slice: what is smaller at its ends is a crumb, and no slice that was left out."""

DRAWS, SEED = 2000, 0


@dataclass(frozen=True)
class StructureErrors:
    """How a label draws a structure, beside the likely label.

    Attributes:
        shift_mm: How far outside of the likely contours its own run, within the slices that both have, on average;
            below 0 inside. None where they have none in common.
        ends: 1 where it lacks slices at an end of the structure, -1 where it has more, 0 for neither or both; None
            where nothing can be said.
    """

    shift_mm: float | None
    ends: int | None


@dataclass(frozen=True)
class CaseErrors:
    """How the label of one case errs.

    Attributes:
        score: The Dice that can be expected of it.
        structures: By name.
        confused: By the names of two classes A and B: the share of A's voxels that are labelled B.
    """

    score: float
    structures: Mapping[str, StructureErrors]
    confused: Mapping[tuple[str, str], float]


def case_errors(
    given: NDArray[np.int64],
    likely: NDArray[np.int64],
    values: Mapping[str, Sequence[int]],
    *,
    spacing_mm: Sequence[float],
    axis: int,
    score: float,
    exclusive: bool = True,
) -> CaseErrors:
    """Hold a label against the likely one.

    Args:
        given, likely: (Z, Y, X), both negative where there is no label.
        values: By structure, its values in a label map.
        spacing_mm: Z, Y, X.
        axis: Which of them counts the slices.
        exclusive: Whether structures have no voxel in common; only such ones are confused with each other.
    """
    masks = {name: (np.isin(given, own), np.isin(likely, own)) for name, own in values.items()}
    structures = {name: structure_errors(*both, spacing_mm, axis) for name, both in masks.items()}
    confused = {
        (a, b): float((likely_a & given_b).sum() / likely_a.sum())
        for a, (_, likely_a) in masks.items()
        for b, (given_b, _) in masks.items()
        if exclusive and a != b and likely_a.any()
    }
    return CaseErrors(score, structures, confused)


def structure_errors(given: Mask, likely: Mask, spacing_mm: Sequence[float], axis: int) -> StructureErrors:
    """Of one structure, (Z, Y, X). What one of the two has far from all of the other is another kind of error."""
    objects, _ = ndimage.label(given | likely, np.ones((3, 3, 3), bool))
    common = np.unique(objects[given & likely])
    if not common.size:
        return StructureErrors(None, None)
    box = tuple(
        slice(max(int(along.min()) - 1, 0), int(along.max()) + 2) for along in np.nonzero(np.isin(objects, common))
    )
    kept = np.isin(objects[box], common)
    given, likely = (np.moveaxis(mask[box] & kept, axis, 0) for mask in (given, likely))
    steps = [spacing_mm[axis], *(step for at, step in enumerate(spacing_mm) if at != axis)]
    return StructureErrors(_shift_mm(given, likely, steps), _ends(given, likely) if objects.shape[axis] > 1 else None)


def _shift_mm(given: Mask, likely: Mask, steps_mm: Sequence[float]) -> float | None:
    """The area between both contours over their mean length, in the slices that both have: exact for parallel ones."""
    both = given.any(axis=(1, 2)) & likely.any(axis=(1, 2))
    given, likely = given[both], likely[both]
    length_mm = (contour_mm(given, steps_mm[1:]) + contour_mm(likely, steps_mm[1:])) / 2
    if not length_mm:
        return None
    surplus = np.count_nonzero(given) - np.count_nonzero(likely)
    return surplus * steps_mm[1] * steps_mm[2] / length_mm


def contour_mm(mask: Mask, steps_mm: Sequence[float]) -> float:
    """Length of the contours in all slices (Z, Y, X), by how often rows, columns and diagonals of pixels cross them.

    The formula of Cauchy and Crofton with four directions (Serra 1982), 5 % off at worst if pixels are square. Where
    the image ends there is no contour.

    Args:
        steps_mm: Of a pixel, Y and X.
    """
    step_y, step_x = steps_mm
    slope, diagonal = math.atan2(step_y, step_x), step_x * step_y / math.hypot(step_x, step_y)
    rows, columns = mask[:, :, 1:] != mask[:, :, :-1], mask[:, 1:] != mask[:, :-1]
    diagonals = (mask[:, 1:, 1:] != mask[:, :-1, :-1], mask[:, 1:, :-1] != mask[:, :-1, 1:])
    found = step_y * slope * np.count_nonzero(rows) + step_x * (math.pi / 2 - slope) * np.count_nonzero(columns)
    return float(found + math.pi / 4 * diagonal * sum(map(np.count_nonzero, diagonals))) / 2


def _ends(given: Mask, likely: Mask) -> int:
    """See :class:`StructureErrors`; the first axis counts the slices."""
    return int(_beyond(likely, given)) - int(_beyond(given, likely))


def _beyond(mask: Mask, other: Mask) -> bool:
    """Whether slices of a mask lie before the first or after the last one of another; crumbs do not count."""
    area, others = mask.sum(axis=(1, 2)), np.flatnonzero(other.any(axis=(1, 2)))
    own = np.flatnonzero(area >= LEAST_AREA * area.max())
    return bool(own[0] < others[0] or own[-1] > others[-1])


def source_table(cases: Mapping[str, Sequence[CaseErrors]]) -> list[dict[str, Any]]:
    """A row for every source, the one with the worst labels first.

    Args:
        cases: By source, its audited cases, one or more.
    """
    rows = []
    for source, own in cases.items():
        scores = [case.score for case in own]
        known = bootstrapped(scores)
        row = {"source": source, "cases": len(own), "dice": fmean(scores), "dice_interval": known and list(known)}
        rows.append({**row, "errors": list(typical_errors(own)) or [NO_ERROR]})
    return sorted(rows, key=lambda row: (row["dice"], row["source"]))


def bootstrapped(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of the mean over other cases of the kind, by drawing these anew; None for a single one."""
    if len(values) < 2:
        return None
    drawn = np.random.default_rng(SEED).integers(len(values), size=(DRAWS, len(values)))
    low, high = np.percentile(np.asarray(values)[drawn].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def typical_errors(cases: Sequence[CaseErrors]) -> Iterator[str]:
    """What is wrong with the labels of a source as a rule, in words."""
    names = list(dict.fromkeys(name for case in cases for name in case.structures))
    for name in names:
        own = [case.structures[name] for case in cases if name in case.structures]
        of = f"{name} " if len(names) > 1 else ""
        yield from _shift_in_words(of, [one.shift_mm for one in own if one.shift_mm is not None])
        yield from _ends_in_words(name if of else "the structure", [one.ends for one in own if one.ends is not None])
    for pair in dict.fromkeys(pair for case in cases for pair in case.confused):
        yield from _confused_in_words(*pair, [case.confused[pair] for case in cases if pair in case.confused])


def _typical(values: Sequence[float], nothing: float) -> tuple[float, float] | None:
    """The interval, where it lies on one side of all that is taken for nothing."""
    known = bootstrapped(values) if len(values) >= FEWEST_CASES else None
    return known if known and (known[0] > nothing or known[1] < -nothing) else None


def _shift_in_words(of: str, shifts_mm: Sequence[float]) -> Iterator[str]:
    known = _typical(shifts_mm, 0)
    mean = fmean(shifts_mm) if shifts_mm else 0.0
    if known and abs(mean) >= LEAST_MM:
        low, high = sorted(map(abs, known))
        yield f"draws {of}{abs(mean):.1f} mm too {'small' if mean < 0 else 'large'} ({low:.1f} to {high:.1f})"


def _ends_in_words(name: str, ends: Sequence[int]) -> Iterator[str]:
    known = _typical(ends, 0)
    if not known:
        return
    sign = 1 if known[0] > 0 else -1
    share = fmean(end == sign for end in ends)
    does = f"misses {name}'s last slices" if sign > 0 else f"draws slices beyond {name}'s ends"
    yield f"{does} in {100 * share:.0f} % of cases"


def _confused_in_words(a: str, b: str, shares: Sequence[float]) -> Iterator[str]:
    if _typical(shares, LEAST_CONFUSED):
        yield f"confuses {a} with {b} ({100 * fmean(shares):.0f} % of {a}'s voxels)"
