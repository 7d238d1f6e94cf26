"""Time of all measures of one case, beside MedPy's for the same numbers.

    python benchmarks/metrics_time.py --repeats 3 [LABEL_FILE ...]

Without files: synthetic volumes of the size of an LA scan (176 x 144 x 88). The prediction is the label, moved by
(3, 2, 1) voxels. Prints the smallest CPU time per case of each and the largest difference between them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from medpy.metric import binary
from scipy.ndimage import gaussian_filter, shift

from nnunetv2_mlbseg.evaluation.metrics import score

SPACING_MM = (0.625, 0.625, 0.625)
NAMES = ("hd", "hd95", "asd", "assd")


def synthetic_label(seed: int) -> np.ndarray:
    """A body with a bumpy surface that fills about 5 % of the volume."""
    shape = (88, 144, 176)
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    bumps = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 6)
    return (x / 0.45) ** 2 + (y / 0.5) ** 2 + (z / 0.5) ** 2 < 1 + 0.3 * bumps / bumps.std()


def ours(prediction: np.ndarray, label: np.ndarray) -> list[float]:
    """All measures by this package."""
    scores = score(prediction, label, SPACING_MM)
    distances = [getattr(unit, name) for unit in (scores.voxels, scores.mm) for name in NAMES]
    return [scores.dice, scores.jaccard, *distances]


def medpy(prediction: np.ndarray, label: np.ndarray) -> list[float]:
    """The same measures by MedPy."""
    distances = [
        getattr(binary, name)(prediction, label, voxelspacing=spacing)
        for spacing in (None, SPACING_MM)
        for name in NAMES
    ]
    return [binary.dc(prediction, label), binary.jc(prediction, label), *distances]


def smallest_time(function: Callable[..., Any], repeats: int, *arguments: Any) -> tuple[float, Any]:
    """Smallest CPU time in seconds, and the result."""
    times = []
    for _ in range(repeats):
        begin = time.process_time()
        result = function(*arguments)
        times.append(time.process_time() - begin)
    return min(times), result


def main() -> None:
    """Print one line per volume."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="LABEL_FILE")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    labels = {path.name: sitk.GetArrayFromImage(sitk.ReadImage(str(path))) > 0 for path in args.files}
    labels = labels or {f"synthetic {seed}": synthetic_label(seed) for seed in range(3)}
    for name, label in labels.items():
        prediction = shift(label, (1, 2, 3), order=0)
        time_ours, values = smallest_time(ours, args.repeats, prediction, label)
        time_medpy, expected = smallest_time(medpy, args.repeats, prediction, label)
        difference = np.max(np.abs(np.subtract(values, expected)))
        print(
            f"{name}: ours {time_ours:.3f} s, MedPy {time_medpy:.2f} s, ratio {time_medpy / time_ours:.0f}, "
            f"largest difference {difference:.1e}"
        )


if __name__ == "__main__":
    main()
