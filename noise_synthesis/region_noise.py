"""Corruption of regions: the mask of each by itself, painted into one label again, so that nesting survives.

A region that grows beyond one around it takes that one along: a label value is in all regions that it is in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from noise_synthesis.calibration.joint import missed
from noise_synthesis.calibration.measuring import Source, load
from noise_synthesis.corrupt import CaseCorruption, CorruptionPlan, plan_corruption
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.structures import Structures
from noise_synthesis.safe_io.volumes import LabelVolume

INSIDE, IGNORED = 1, 2


@dataclass(frozen=True)
class MaskSource:
    """Loads the mask of a region: 0 outside, 1 inside, 2 where there is no label."""

    case: str
    source: Source
    values: tuple[int, ...]
    ignore_label: int | None

    def __call__(self) -> LabelVolume:
        """The mask."""
        volume = load(self.case, self.source)
        return mask_of(volume, self.values, self.ignore_label)


def mask_of(volume: LabelVolume, values: tuple[int, ...], ignore_label: int | None) -> LabelVolume:
    """Where a label has one of some values, as a label of its own."""
    mask = np.isin(volume.voxels, values).astype(np.uint8)
    if ignore_label is not None:
        mask[volume.voxels == ignore_label] = IGNORED
    return LabelVolume(mask, volume.spacing_mm)


@dataclass(frozen=True)
class RegionCorruption:
    """All it takes to corrupt the regions of one case."""

    structures: Structures
    parts: tuple[CaseCorruption, ...]
    ignore_label: int | None

    def apply(self, volume: LabelVolume) -> np.ndarray:
        """Return the corrupted label, a new array of the same shape (z, y, x) and dtype."""
        own = zip(self.structures.values.values(), self.parts, strict=True)
        masks = [part.apply(mask_of(volume, values, self.ignore_label)) == INSIDE for values, part in own]
        painted = self.structures.painted(masks, volume.voxels)
        if self.ignore_label is not None:
            painted[volume.voxels == self.ignore_label] = self.ignore_label
        return painted.astype(volume.voxels.dtype)


@dataclass(frozen=True)
class RegionPlan:
    """Calibrated corruptions of all regions; what it tells is of the painted labels.

    Attributes:
        plans: by region the corruption of its masks.
        class_dice: per case, region by region, the Dice of the painted label; cases without the region have none.
    """

    structures: Structures
    plans: Mapping[str, CorruptionPlan]
    ignore_label: int | None
    seed: int
    class_dice: Mapping[str, Mapping[str, float]]

    @property
    def parameters(self) -> dict[str, Any]:
        """Per case and region what the recipe drew."""
        return {case: {name: plan.parameters[case] for name, plan in self.plans.items()} for case in self.class_dice}

    def for_case(self, case: str) -> RegionCorruption:
        """Return the corruption of one case."""
        parts = tuple(plan.for_case(case) for plan in self.plans.values())
        return RegionCorruption(self.structures, parts, self.ignore_label)

    def provenance(self) -> dict[str, Any]:
        """Return everything needed to tell how the labels came about, as a plan of classes does."""
        plan = next(iter(self.plans.values()))
        dice = {case: _mean(own.values()) for case, own in self.class_dice.items() if own}
        spread = np.array(list(dice.values()))
        quantiles = {"min": 0.0, "q25": 0.25, "median": 0.5, "q75": 0.75, "max": 1.0}
        return {
            **{key: plan.provenance()[key] for key in ("recipe", "settings", "per_slice", "target_dice")},
            "seed": self.seed,
            "ignore_label": self.ignore_label,
            "regions": {name: list(values) for name, values in self.structures.values.items()},
            "regions_class_order": list(self.structures.order or ()),
            "mean_dice": round(_mean(dice.values()), 6),
            "classes": {name: self._of_region(name) for name in self.plans},
            "spread": {
                "std": round(float(spread.std()), 6),
                **{name: round(float(np.quantile(spread, q)), 6) for name, q in quantiles.items()},
            },
            "cases": {case: self._of_case(case, dice.get(case)) for case in self.class_dice},
        }

    def _of_region(self, name: str) -> dict[str, Any]:
        plan = self.plans[name]
        dice = {case: own[name] for case, own in self.class_dice.items() if name in own}
        worst, mean = min(dice, key=lambda case: (dice[case], case)), _mean(dice.values())
        return {
            "strength_mm": plan.strengths_mm[INSIDE],
            "mean_dice": round(mean, 6),
            "reached": not missed({INSIDE: mean}, plan.target_dice),
            "cases": len(dice),
            "lowest": {"case": worst, "dice": round(dice[worst], 6)},
        }

    def _of_case(self, case: str, dice: float | None) -> dict[str, Any]:
        if dice is None:
            return {"dice": None, "reason": "no foreground: left as it is"}
        own = {name: round(value, 6) for name, value in self.class_dice[case].items()}
        return {"dice": round(dice, 6), "class_dice": own, "parameters": self.parameters[case]}


def plan_noise(
    cases: Mapping[str, Source],
    target_dice: float,
    seed: int,
    *,
    structures: Structures | None = None,
    progress: Callable[[str], None] = lambda event: None,
    **options: Any,
) -> CorruptionPlan | RegionPlan:
    """As :func:`plan_corruption`, which see; of regions, if there are any, each for itself.

    Each region's mask is calibrated alone, its errors are drawn by themselves. What painting changes of its Dice is
    seen in the plan.

    Args:
        structures: what the labels name; None, or classes: every value is a class of its own.

    Raises:
        InputError: see :func:`plan_corruption`; the line names the region.
    """
    if structures is None or structures.order is None:
        return plan_corruption(cases, target_dice, seed, progress=progress, **options)
    ignore = options.pop("ignore_label", None)
    plans = {}
    for number, (name, values) in enumerate(structures.values.items()):
        masks: dict[str, Source] = {case: MaskSource(case, source, values, ignore) for case, source in cases.items()}
        own_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        try:
            plans[name] = plan_corruption(
                masks, target_dice, own_seed, ignore_label=IGNORED, progress=progress, **options
            )
        except InputError as error:
            raise InputError(f"region {name}: {error}") from None
    plan = RegionPlan(structures, plans, ignore, seed, {case: {} for case in sorted(cases)})
    dice = {}
    for case in plan.class_dice:
        volume = load(case, cases[case])
        dice[case] = region_dice(structures, volume.voxels, plan.for_case(case).apply(volume))
        progress(f"measured {case}")
    return RegionPlan(structures, plans, ignore, seed, dice)


def region_dice(structures: Structures, clean: np.ndarray, corrupted: np.ndarray) -> dict[str, float]:
    """The Dice of every region that a clean label shows."""
    pairs = zip(structures.values, structures.masks(clean), structures.masks(corrupted), strict=True)
    return {
        name: float(2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b)))
        for name, a, b in pairs
        if a.any()
    }


def _mean(values: Any) -> float:
    listed = list(values)
    return math.fsum(listed) / len(listed)
