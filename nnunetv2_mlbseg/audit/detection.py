"""How well a score finds what is wrong: voxels by its value, cases by their order."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

LARGEST_LOG_ODDS, BINS = 20.0, 4000
WORST = 10


@dataclass
class Detection:
    """A detector of wrong voxels over many cases, as two histograms of its score: memory does not grow with voxels.

    Scores are told apart by their log-odds in steps of 0.01 (a probability of 0.5 and one of 0.5025 are the same).
    """

    wrong: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    right: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def add_(self, score: NDArray[np.floating], is_wrong: NDArray[np.bool_]) -> None:
        """Count voxels: scores from 0 to 1, flat or not, and whether the label is wrong there."""
        bins = _bins(np.asarray(score, np.float64))
        self.wrong += np.bincount(bins[is_wrong], minlength=BINS)
        self.right += np.bincount(bins[~is_wrong], minlength=BINS)

    def auroc(self) -> float | None:
        """Probability that a wrong voxel scores above a right one, ties counted half; None for one class only."""
        wrong, right = self.wrong.astype(np.float64), self.right.astype(np.float64)
        if not wrong.sum() or not right.sum():
            return None
        below = np.concatenate([[0.0], np.cumsum(right)[:-1]])
        return float((wrong * (below + right / 2)).sum() / wrong.sum() / right.sum())

    def average_precision(self) -> float | None:
        """Sum of precision times gain in recall over all thresholds, from the highest; None without wrong voxels."""
        wrong, right = np.cumsum(self.wrong[::-1]), np.cumsum(self.right[::-1])
        if not wrong[-1]:
            return None
        precision = wrong / np.maximum(wrong + right, 1)
        return float((precision * np.diff(wrong, prepend=0)).sum() / wrong[-1])


def _bins(score: NDArray[np.float64]) -> NDArray[np.int64]:
    with np.errstate(divide="ignore"):
        odds = np.log(score) - np.log1p(-score)
    scaled = (np.clip(odds, -LARGEST_LOG_ODDS, LARGEST_LOG_ODDS) / LARGEST_LOG_ODDS + 1) / 2
    return np.minimum((scaled * BINS).astype(np.int64), BINS - 1)


def rank_correlation(scores: NDArray[np.float64], true_dice: NDArray[np.float64]) -> float | None:
    """Spearman's correlation; None where it is not defined (fewer than 3 cases, or all alike)."""
    if len(scores) < 3 or np.ptp(scores) == 0 or np.ptp(true_dice) == 0:
        return None
    return float(spearmanr(scores, true_dice).statistic)


def worst_found(scores: NDArray[np.float64], true_dice: NDArray[np.float64], count: int = WORST) -> float | None:
    """Share of the ``count`` cases of lowest Dice among the ``count`` of lowest score; None with fewer than 2 count."""
    if len(scores) < 2 * count:
        return None
    lowest, worst = (set(np.argsort(values, kind="stable")[:count].tolist()) for values in (scores, true_dice))
    return len(lowest & worst) / count
