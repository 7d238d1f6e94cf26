"""Find a strength for each of several classes at once: neighbours take from each other, so that all depend on all."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from noise_synthesis.calibration.dice import Overlap

# A class counts as having reached the target within this; the search goes on to the aim where it takes few rounds.
JOINT_TOLERANCE = 0.02
JOINT_AIM = 0.002
ROUNDS = 40
# Logarithmic steps of the strength: the first and longest one, and one so short that the Dice must jump to be missed.
LONGEST_STEP = math.log(2)
SHORTEST_STEP = 0.005
# Fall of the Dice over a step of 1, where nothing is known yet, and what is taken for possible.
USUAL_FALL = 0.3
LEAST_FALL, STEEPEST_FALL = 0.05, 3.0
# No class is corrupted so far that alone, with no neighbours to stop it, it would have less than this share of the
# target.
LEAST_SHARE_ALONE = 1 / 4
# Where its shape alone has come half of the way to the target, and two steps longer than this let the Dice fall by less
# than that per step of 1, its neighbours let it go no further.
LONG_STEP, FLAT_FALL = LONGEST_STEP / 2, 0.02


# Measures every class at strengths for all of them.
JointMeasure = Callable[[dict[int, float]], dict[int, Overlap]]


@dataclass
class ClassStrength:
    """The strength of one class on its way to the target.

    It follows the secant through the last two rounds, in the logarithm of the strength. No step is longer than
    ``longest``, which grows while the target stays on one side and is halved when it changes sides. So the search ends
    also where the Dice jumps, and where neighbours move it.
    """

    strength_mm: float
    limit_mm: float
    longest: float = LONGEST_STEP
    fall: float = USUAL_FALL
    step: float = 0.0
    dice: float = 1.0
    flat_steps: int = 0

    def settled(self, dice: float, target: float) -> bool:
        """Whether this Dice is near enough, or cannot be brought nearer."""
        at_limit = self.strength_mm > 0.999 * self.limit_mm and dice > target
        return abs(dice - target) <= JOINT_AIM or at_limit or self.longest < SHORTEST_STEP

    def move(self, seen: Overlap, target: float) -> None:
        """Take the next step, now that the Dice at the present strength is known."""
        if self.step:
            observed = (self.dice - seen.dice) / self.step
            self.fall = min(max(observed, LEAST_FALL), STEEPEST_FALL)
            changed_sides = (self.dice > target) != (seen.dice > target)
            self.longest = self.longest / 2 if changed_sides else min(1.5 * self.longest, LONGEST_STEP)
            self._stop_where_flat(observed, seen, target)
        if seen.alone < LEAST_SHARE_ALONE * target:
            self.limit_mm = min(self.limit_mm, self.strength_mm * math.exp(-self.longest / 2))
        self.step = min(max((seen.dice - target) / self.fall, -self.longest), self.longest)
        self.step = min(self.step, math.log(self.limit_mm / self.strength_mm))
        self.strength_mm *= math.exp(self.step)
        self.dice = seen.dice

    def _stop_where_flat(self, observed: float, seen: Overlap, target: float) -> None:
        """Make the strength before two steps in vain the limit."""
        half_way = seen.alone < (1 + target) / 2
        in_vain = self.step > LONG_STEP and observed < FLAT_FALL and seen.dice > target
        self.flat_steps = self.flat_steps + 1 if half_way and in_vain else 0
        if self.flat_steps == 2:
            self.limit_mm = self.strength_mm * math.exp(-2 * self.step)


def calibrate_jointly(
    full: JointMeasure, target_dice: float, limits_mm: Mapping[int, float], coarse: JointMeasure | None = None
) -> tuple[dict[int, float], dict[int, float]]:
    """Return strengths in mm that bring the mean Dice of all classes as near to the target as they come together.

    The second value is the Dice of each class at these strengths. All classes move in every round, so the number of
    measurements does not grow with that of classes. ``coarse`` measures a part of the cases: the search starts there.
    ``limits_mm`` are strengths beyond which nothing is gained.
    """
    classes = {value: ClassStrength(limit / 64, limit) for value, limit in limits_mm.items()}
    if coarse is not None:
        best, _ = _search(coarse, target_dice, classes)
        classes = {
            value: ClassStrength(best[value], known.limit_mm, LONGEST_STEP / 4, known.fall)
            for value, known in classes.items()
        }
    return _search(full, target_dice, classes)


def missed(dice: Mapping[int, float], target_dice: float) -> list[int]:
    """Return the classes that are off the target."""
    return [value for value, reached in dice.items() if abs(reached - target_dice) > JOINT_TOLERANCE]


def _search(
    measure: JointMeasure, target: float, classes: dict[int, ClassStrength]
) -> tuple[dict[int, float], dict[int, float]]:
    """Move all classes until all are settled; strengths and Dice of the round that missed the target least."""
    best: dict[int, float] = {}
    reached: dict[int, float] = {}
    least = (math.inf, math.inf)
    for _ in range(ROUNDS):
        strengths = {value: known.strength_mm for value, known in classes.items()}
        seen = measure(strengths)
        dice = {value: overlap.dice for value, overlap in seen.items()}
        miss = (float(len(missed(dice, target))), math.fsum(abs(found - target) for found in dice.values()))
        if miss < least:
            best, reached, least = strengths, dice, miss
        if all(known.settled(dice[value], target) for value, known in classes.items()):
            break
        for value, known in classes.items():
            known.move(seen[value], target)
    return best, reached
