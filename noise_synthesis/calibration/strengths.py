"""The strength of every class of a set of cases: by bisection for one class, by a joint search for several."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from noise_synthesis.calibration.dice import Overlap
from noise_synthesis.calibration.joint import calibrate_jointly, missed
from noise_synthesis.calibration.measuring import CaseFacts, Meters
from noise_synthesis.calibration.search import DiceCurve, TargetOutOfReach, calibrate, check_target
from noise_synthesis.recipes.base import Parameters

# The first steps of the search look at no more cases than this, spread evenly over the sorted names; of several
# classes at so many with each class, if there are.
COARSE_CASES = 12
COARSE_CASES_PER_CLASS = 4
# A class is corrupted by twice its diagonal at most.
LIMIT_EXTENTS = 2.0


@dataclass(frozen=True)
class CaseSetMeasure:
    """Measures the Dice of cases and tells so; ``parameters`` is what the recipe drew for each."""

    meters: Meters
    parameters: Mapping[str, Parameters]
    progress: Callable[[str], None]

    def single(self, cases: Sequence[str], value: int, strength_mm: float) -> float:
        """Return the mean Dice over cases whose only class is ``value``."""
        dice = class_means(self.meters.overlaps(cases, self.parameters, {value: strength_mm}).values())[value].dice
        self.progress(f"strength {strength_mm:.3f} mm: Dice {dice:.4f} over {len(cases)} cases")
        return dice

    def joint(self, cases: Sequence[str], strengths_mm: Mapping[int, float]) -> dict[int, Overlap]:
        """Return the mean overlaps of each class over the cases that have it."""
        means = class_means(self.meters.overlaps(cases, self.parameters, strengths_mm).values())
        low, high = min(mean.dice for mean in means.values()), max(mean.dice for mean in means.values())
        self.progress(f"Dice {low:.4f} to {high:.4f} of {len(means)} classes over {len(cases)} cases")
        return means


def class_means(per_case: Iterable[Mapping[int, Overlap]]) -> dict[int, Overlap]:
    """Return the means over cases of each class, classes ascending."""
    listed: dict[int, list[Overlap]] = {}
    for per_class in per_case:
        for value, overlap in per_class.items():
            listed.setdefault(value, []).append(overlap)
    return {
        value: Overlap(*(math.fsum(numbers) / len(numbers) for numbers in zip(*listed[value], strict=True)))
        for value in sorted(listed)
    }


def find_strengths(
    measure: CaseSetMeasure, facts: Mapping[str, CaseFacts], target_dice: float, what: str
) -> dict[int, float]:
    """Return per class the strength in mm at which its mean Dice over the cases is the target.

    Args:
        facts: per case what is known of it; every case has foreground.

    Raises:
        TargetOutOfReach: no class can reach the target. If only some cannot, they come as near as they can.
    """
    check_target(target_dice)
    classes = sorted({value for known in facts.values() for value in known.classes})
    cases = list(facts)
    some = cases[:: math.ceil(len(cases) / COARSE_CASES)]
    whole = len(some) == len(cases)
    if len(classes) == 1:
        value = classes[0]
        strength_mm = calibrate(
            DiceCurve(lambda strength: measure.single(cases, value, strength)),
            target_dice,
            limit_mm=max(known.extent_mm for known in facts.values()),
            coarse=None if whole else DiceCurve(lambda strength: measure.single(some, value, strength)),
            what=what,
        )
        return {value: strength_mm}
    some = with_every_class(some, facts)
    strengths, reached = calibrate_jointly(
        lambda strengths: measure.joint(cases, strengths),
        target_dice,
        {value: LIMIT_EXTENTS * _largest(value, facts) for value in classes},
        coarse=None if len(some) == len(cases) else lambda strengths: measure.joint(some, strengths),
    )
    if len(missed(reached, target_dice)) == len(classes):
        told = ", ".join(f"{dice:.4f} for class {value}" for value, dice in reached.items())
        raise TargetOutOfReach(
            f"target Dice {target_dice:.4f}: {what} reaches, at the nearest on these cases, {told}",
            math.fsum(reached.values()) / len(reached),
        )
    return strengths


def with_every_class(some: Sequence[str], facts: Mapping[str, CaseFacts]) -> list[str]:
    """Add cases to ``some`` until it has each class ``COARSE_CASES_PER_CLASS`` times or as often as there are."""
    chosen = set(some)
    for value in sorted({value for known in facts.values() for value in known.classes}):
        having = [case for case, known in facts.items() if value in known.class_extents_mm]
        lacking = COARSE_CASES_PER_CLASS - len(chosen.intersection(having))
        chosen.update([case for case in having if case not in chosen][: max(lacking, 0)])
    return [case for case in facts if case in chosen]


def _largest(value: int, facts: Mapping[str, CaseFacts]) -> float:
    return max(known.class_extents_mm.get(value, 0.0) for known in facts.values())
