"""Corrupt a set of label maps to a wanted mean Dice: plan once over all cases, apply case by case."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from noise_synthesis.calibration.joint import missed
from noise_synthesis.calibration.measuring import Meters, Source, load
from noise_synthesis.calibration.strengths import CaseSetMeasure, find_strengths
from noise_synthesis.recipes.base import Parameters, Recipe
from noise_synthesis.recipes.names import DEFAULT_RECIPE
from noise_synthesis.recipes.table import find_recipe
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.volumes import LabelVolume


@dataclass(frozen=True)
class CaseCorruption:
    """All it takes to corrupt one case, small and ready to be sent to another process."""

    recipe: Recipe
    parameters: Parameters
    strengths_mm: dict[int, float]
    per_slice: bool
    ignore_label: int | None

    def apply(self, volume: LabelVolume) -> np.ndarray:
        """Return the corrupted label, a new array of the same shape (z, y, x) and dtype."""
        return self.recipe.apply(
            volume.voxels, self.parameters, self.strengths_mm, volume.spacing_mm, self.per_slice, self.ignore_label
        )


@dataclass(frozen=True)
class CorruptionPlan:
    """A calibrated corruption of a set of cases.

    Attributes:
        strengths_mm: per class how strongly it is corrupted, classes ascending.
        dice: per case the mean Dice of its foreground classes, corrupted against clean, over the volume; cases without
            foreground have none, they stay as they are and count for nothing.
        class_dice: per case and class the same.
        parameters: per case what the recipe drew.
    """

    recipe: Recipe
    target_dice: float
    seed: int
    per_slice: bool
    ignore_label: int | None
    strengths_mm: dict[int, float]
    parameters: dict[str, Parameters]
    dice: dict[str, float]
    class_dice: dict[str, dict[int, float]]

    @property
    def mean_dice(self) -> float:
        """Mean over the cases that have foreground."""
        return _mean(self.dice.values())

    @property
    def reached(self) -> dict[int, float]:
        """Per class the mean Dice over the cases that have it."""
        return {
            value: _mean(found[value] for found in self.class_dice.values() if value in found)
            for value in self.strengths_mm
        }

    @property
    def missed(self) -> list[int]:
        """The classes whose mean Dice is not within 0.02 of the target, because no strength brings it nearer."""
        return missed(self.reached, self.target_dice)

    def for_case(self, case: str) -> CaseCorruption:
        """Return the corruption of one case."""
        return CaseCorruption(self.recipe, self.parameters[case], self.strengths_mm, self.per_slice, self.ignore_label)

    def provenance(self) -> dict[str, Any]:
        """Return everything needed to tell how the labels came about, ready for JSON."""
        values = np.array(list(self.dice.values()))
        return {
            "recipe": self.recipe.name,
            "settings": self.recipe.settings(),
            "per_slice": self.per_slice,
            "seed": self.seed,
            "ignore_label": self.ignore_label,
            "target_dice": self.target_dice,
            "mean_dice": round(self.mean_dice, 6),
            **({"strength_mm": next(iter(self.strengths_mm.values()))} if len(self.strengths_mm) == 1 else {}),
            "classes": {str(value): self._class_provenance(value) for value in self.strengths_mm},
            "spread": {
                "std": round(float(values.std()), 6),
                **{name: round(float(np.quantile(values, q)), 6) for name, q in _QUANTILES.items()},
            },
            "cases": {case: self._case_provenance(case) for case in self.parameters},
        }

    def _class_provenance(self, value: int) -> dict[str, Any]:
        dice = {case: per_class[value] for case, per_class in self.class_dice.items() if value in per_class}
        worst = min(dice, key=lambda case: (dice[case], case))
        return {
            "strength_mm": self.strengths_mm[value],
            "mean_dice": round(self.reached[value], 6),
            "reached": value not in self.missed,
            "cases": len(dice),
            "lowest": {"case": worst, "dice": round(dice[worst], 6)},
        }

    def _case_provenance(self, case: str) -> dict[str, Any]:
        if case not in self.dice:
            return {"dice": None, "reason": "no foreground: left as it is"}
        per_class = {str(value): round(dice, 6) for value, dice in self.class_dice[case].items()}
        return {"dice": round(self.dice[case], 6), "class_dice": per_class, "parameters": self.parameters[case]}


_QUANTILES = {"min": 0.0, "q25": 0.25, "median": 0.5, "q75": 0.75, "max": 1.0}


@dataclass(frozen=True)
class CorruptionResult:
    """Corrupted labels per case, and the plan they were made by."""

    labels: dict[str, np.ndarray]
    plan: CorruptionPlan


def plan_corruption(
    cases: Mapping[str, Source],
    target_dice: float,
    seed: int,
    *,
    recipe: str | Recipe = DEFAULT_RECIPE,
    per_slice: bool = True,
    ignore_label: int | None = None,
    processes: int = 1,
    progress: Callable[[str], None] = lambda event: None,
) -> CorruptionPlan:
    """Draw each case's errors and find for each class the strength at which its mean Dice is ``target_dice``.

    Args:
        cases: per case its label, or a function without arguments that loads it (for more than one process it must be
            picklable, such as a ``functools.partial``). With functions no more than one whole label per process is in
            memory.
        target_dice: mean Dice of each class over the cases that have it, met within 0.005. With several classes, those
            that cannot meet it come as near as they can (``CorruptionPlan.missed``).
        seed: with the case's name it determines all random draws of the case; neither the other cases nor the number of
            processes matter to them.
        recipe: a name in ``noise_synthesis.recipes.table.RECIPES``, or a recipe.
        per_slice: corrupt axial slices as pictures of their own (for 2D training), or the volume in 3D.
        ignore_label: label value of voxels that carry no annotation; they stay as they are and count for nothing.
        processes: worker processes; 1 starts none. The result is the same to the byte.
        progress: called with ``"loaded CASE"`` per case, and per step of the search with ``"strength ... Dice ..."``,
            or ``"Dice ... to ..."`` for several classes.

    Raises:
        InputError: no case, no foreground in any case, a label that cannot be loaded, or a target out of reach of all
            classes.
    """
    chosen = find_recipe(recipe)
    if seed < 0:
        raise InputError(f"noise seed: got {seed}, expected 0 or more")
    sources = {case: cases[case] for case in sorted(cases)}
    workers = min(max(processes, 1), max(len(sources), 1))
    with Meters(workers, chosen, per_slice, ignore_label) as meters:
        facts = meters.add(sources, lambda case: progress(f"loaded {case}"))
        drawn = {case: chosen.draw(case_generator(seed, case), facts[case].classes) for case in sources}
        measured = {case: facts[case] for case in sources if facts[case].classes}
        if not measured:
            raise InputError(f"noise: none of the {len(sources)} labels has any foreground to corrupt")
        chosen.require_applicable(max((known.classes for known in measured.values()), key=len))
        measure = CaseSetMeasure(meters, drawn, progress)
        strengths = find_strengths(measure, measured, target_dice, f"recipe {chosen.name}")
        overlaps = meters.overlaps(measured, drawn, strengths)
    class_dice = {case: {value: seen.dice for value, seen in found.items()} for case, found in overlaps.items()}
    dice = {case: _mean(per_class.values()) for case, per_class in class_dice.items()}
    return CorruptionPlan(chosen, target_dice, seed, per_slice, ignore_label, strengths, drawn, dice, class_dice)


def corrupt_labels(
    cases: Mapping[str, Source],
    target_dice: float,
    seed: int,
    *,
    recipe: str | Recipe = DEFAULT_RECIPE,
    per_slice: bool = True,
    ignore_label: int | None = None,
    processes: int = 1,
    progress: Callable[[str], None] = lambda event: None,
) -> CorruptionResult:
    """Plan as ``plan_corruption`` does and return all corrupted labels at once.

    For sets that do not fit in memory use the plan: ``plan.for_case(case).apply(volume)``.
    """
    plan = plan_corruption(
        cases,
        target_dice,
        seed,
        recipe=recipe,
        per_slice=per_slice,
        ignore_label=ignore_label,
        processes=processes,
        progress=progress,
    )
    labels = {case: plan.for_case(case).apply(load(case, cases[case])) for case in plan.parameters}
    return CorruptionResult(labels, plan)


def case_generator(seed: int, case: str) -> np.random.Generator:
    """Return the random stream of a case: the same wherever, and in whatever company, the case is corrupted."""
    digest = hashlib.sha256(case.encode("utf-8")).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest[:16], dtype=np.uint32).tolist()])


def _mean(values: Any) -> float:
    listed = list(values)
    return math.fsum(listed) / len(listed)
