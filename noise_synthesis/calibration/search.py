"""Find the strength at which the mean Dice over a set of cases is the wanted one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from noise_synthesis.safe_io.errors import InputError

TOLERANCE = 0.005
# The search goes on to this error, well inside the tolerance, for as long as it takes few steps.
AIM = 0.001
LADDER_STEPS = 7
BISECTION_STEPS = 30
OFF_CENTRE = 0.4


class TargetOutOfReach(InputError):
    """No strength gives the wanted mean Dice; ``nearest`` is the nearest that one gives."""

    def __init__(self, message: str, nearest: float) -> None:
        super().__init__(message, nearest)
        self.nearest = nearest

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass
class DiceCurve:
    """Mean Dice as a function of the strength in mm, remembered; falling in tendency, not at every step.

    ``measure`` must use the same random parameters at every strength. Strength 0 is a Dice of 1.
    """

    measure: Callable[[float], float]
    known: dict[float, float] = field(default_factory=lambda: {0.0: 1.0})

    def __call__(self, strength_mm: float) -> float:
        """Return the mean Dice at a strength."""
        if strength_mm not in self.known:
            self.known[strength_mm] = self.measure(strength_mm)
        return self.known[strength_mm]

    def nearest(self, target_dice: float) -> float:
        """Return the strength whose known Dice is nearest to the target; the smaller one of two."""
        return min(self.known, key=lambda strength: (abs(self.known[strength] - target_dice), strength))


def calibrate(
    full: DiceCurve, target_dice: float, limit_mm: float, coarse: DiceCurve | None = None, what: str = "this noise"
) -> float:
    """Return the strength in mm at which ``full`` is within ``TOLERANCE`` of the target, found by bisection.

    ``coarse`` is the same curve over a part of the cases: the search starts there, and only its last steps are taken
    on the full set. ``limit_mm`` is the strength beyond which nothing is gained.

    Raises:
        TargetOutOfReach: an ``InputError`` that says what can be reached.
    """
    check_target(target_dice)
    if coarse is not None:
        bracket = _bracket_around(full, target_dice, _guess(full, coarse, target_dice, limit_mm), limit_mm)
    else:
        bracket = _climb(full, target_dice, limit_mm)
    best = _bisect(full, target_dice, bracket)
    if abs(full(best) - target_dice) > TOLERANCE:
        bracket = _climb(full, target_dice, limit_mm)
        best = _bisect(full, target_dice, bracket)
    _require_reached(full, target_dice, best, what)
    return best


def check_target(target_dice: float) -> None:
    """Raise an ``InputError`` where a target is no Dice that noise could have."""
    if not 0 < target_dice < 1:
        raise InputError(f"target Dice: got {target_dice}, expected a number between 0 and 1")


def _guess(full: DiceCurve, coarse: DiceCurve, target: float, limit_mm: float) -> float:
    """Find the strength on the coarse curve, compare the curves there, and find it again with the difference."""
    first = _bisect(coarse, target, _climb(coarse, target, limit_mm))
    shifted = target + coarse(first) - full(first)
    if not 0 < shifted < 1:
        return first
    return _bisect(coarse, shifted, _climb(coarse, shifted, limit_mm))


def _climb(curve: DiceCurve, target: float, limit_mm: float) -> tuple[float, float]:
    """Double the strength up to the limit until the Dice is no longer above the target."""
    low = 0.0
    for step in reversed(range(LADDER_STEPS)):
        high = limit_mm / 2**step
        if curve(high) <= target:
            break
        low = high
    return low, high


def _bracket_around(curve: DiceCurve, target: float, guess: float, limit_mm: float) -> tuple[float, float]:
    """Step away from a good guess, in growing steps, until the target lies between two strengths."""
    too_weak = curve(guess) > target
    previous, factor = guess, 1.03
    while 0 < previous < limit_mm and abs(curve(previous) - target) > AIM:
        strength = min(previous * factor, limit_mm) if too_weak else previous / factor
        if (curve(strength) > target) != too_weak:
            return min(previous, strength), max(previous, strength)
        previous, factor = strength, factor**2
        if factor > 1e3:
            break
    return (0.0, previous) if not too_weak else (previous, limit_mm)


def _bisect(curve: DiceCurve, target: float, bracket: tuple[float, float]) -> float:
    """Divide the bracket until the Dice is near enough; the best strength seen, whatever the curve does.

    The bracket is divided where a straight line through its ends meets the target, but never off the middle by more
    than ``OFF_CENTRE`` of its length, so that it shrinks at every step.
    """
    low, high = bracket
    for _ in range(BISECTION_STEPS):
        if abs(curve(curve.nearest(target)) - target) <= AIM or high - low <= 1e-6 * high:
            break
        fall = curve(low) - curve(high)
        share = (curve(low) - target) / fall if fall > 0 else 0.5
        share = min(max(share, 0.5 - OFF_CENTRE), 0.5 + OFF_CENTRE)
        divide = low + share * (high - low)
        if curve(divide) > target:
            low = divide
        else:
            high = divide
    return curve.nearest(target)


def _require_reached(curve: DiceCurve, target: float, best: float, what: str) -> None:
    reached = curve(best)
    if abs(reached - target) <= TOLERANCE:
        return
    lowest = min(curve.known.values())
    if lowest > target:
        raise TargetOutOfReach(
            f"target Dice {target:.4f}: {what} reaches {lowest:.4f} to 1 on these cases, no lower", reached
        )
    raise TargetOutOfReach(
        f"target Dice {target:.4f}: {what} reaches {reached:.4f} at the nearest on these cases: "
        f"too few or too coarse labels to meet it within {TOLERANCE}",
        reached,
    )
