"""What a network says of an image in each view, and of their ensembles, held against the true labels.

    python benchmarks/view_quality.py MODEL_FOLDER [--iterations 40]

``MODEL_FOLDER`` is that of a training on simulated noise (``labelsTr_true``). Draws its noisy training images as the
training did and prints the teacher's Dice in percent over all of their pixels, foreground of all classes alike:

- in view: the view's prediction against the true label shown in that view;
- with image: the ensemble (Eq. 10) of the image and the view;
- with image and flip: the same with a flip, as in the views of the study ``small``.

A view's factor is the same for all images, so that the effect of its size is seen.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.pseudo_labels import ensemble_probabilities
from nnunetv2_mlbseg.maths.views import Views, draw_views
from nnunetv2_mlbseg.progress import checkpoint
from nnunetv2_mlbseg.runtime import random_state
from nnunetv2_mlbseg.training.restored import TrainedFold, restored
from nnunetv2_mlbseg.weight_quality.loader_with_truth import loader_with_truth, true_labels_of

ZOOMS = (("zoom_in", (1.05, 1.1, 1.15, 1.2, 1.3, 1.4)), ("zoom_out", (0.95, 0.9, 0.8, 0.7)))
SEEN_AS = ("in view", "with image", "with image and flip")


class PooledDice:
    """Dice over the pixels of many batches; only pixels of the right class of foreground are common."""

    def __init__(self) -> None:
        self.common = self.extent = 0

    def add(self, probabilities: Tensor, truth: Tensor) -> None:
        """Count ``(B, C, *S)`` against ``(B, *S)``; pixels without a true label (negative) are left out."""
        predicted, known = probabilities.argmax(dim=1), truth >= 0
        same = (predicted == truth) & (truth > 0)
        self.common += 2 * int(same.sum())
        self.extent += int(((predicted > 0) & known).sum()) + int((truth > 0).sum())

    def __str__(self) -> str:
        return f"{100 * self.common / self.extent:.1f}" if self.extent else "-"


def views_to_compare(images: int) -> tuple[list[str], Views]:
    """The image, a flip, and every zoom of a fixed factor, with their names."""
    zooms = {
        f"{kind} {factor}": draw_views(
            (kind, "flip"), images, 2, torch.Generator().manual_seed(0), **{kind: (factor, factor)}
        )
        for kind, factors in ZOOMS
        for factor in factors
    }
    first = next(iter(zooms.values()))  # the image and the flip are the same in all
    matrices, inverses = (
        torch.cat([getattr(first, which)[[0, 2]], *(getattr(views, which)[1:2] for views in zooms.values())])
        for which in ("matrices", "inverses")
    )
    return ["image", "flip", *zooms], Views(matrices, inverses)


@torch.no_grad()
def measure(fold: TrainedFold, iterations: int) -> dict[str, dict[str, PooledDice]]:
    """Dice by view and by what it is seen with."""
    random_state.seed_everything(0)
    loader, teacher = loader_with_truth(fold, "noisy"), fold.teacher
    names, views = views_to_compare(fold.imperfect_batch)
    found: dict[str, dict[str, PooledDice]] = {name: defaultdict(PooledDice) for name in names}
    for _ in range(iterations):
        batch = next(loader)
        truth = true_labels_of(batch, fold.labels.ignore_label)
        output = teacher(views.apply(batch["imperfect_data"]))
        probabilities = (output if isinstance(output, Tensor) else output[0]).softmax(dim=1)
        in_views = probabilities.unflatten(0, (len(views), -1))
        true_in_views = views.apply_labels(truth).unflatten(0, (len(views), -1))
        aligned, covered = views.invert(probabilities), views.covered(truth.shape[1:])
        for i, name in enumerate(names):
            found[name]["in view"].add(in_views[i], true_in_views[i])
            if i > 0:
                found[name]["with image"].add(ensemble_probabilities(aligned[[0, i]], covered[[0, i]]), truth)
            if i > 1:
                three = [0, 1, i]
                found[name]["with image and flip"].add(ensemble_probabilities(aligned[three], covered[three]), truth)
    return found


def main() -> None:
    """Measure the final checkpoint and print a row per view."""
    parser = argparse.ArgumentParser(description="Dice of a network's predictions in each view, and of ensembles")
    parser.add_argument("model_folder", type=Path, help="holds plans.json and fold_*")
    parser.add_argument("-f", dest="fold", default="0", help="fold (default: %(default)s)")
    parser.add_argument("--iterations", type=int, default=40, help="batches drawn (default: %(default)s)")
    args = parser.parse_args()
    folder, cpu = args.model_folder / f"fold_{args.fold}", torch.device("cpu")
    with restored(checkpoint.read(folder / "checkpoint_final.pth", cpu), folder, cpu) as fold:
        found = measure(fold, args.iterations)
    print(f"{'view':<14}" + "".join(f"{column:>22}" for column in SEEN_AS))
    for name, seen in found.items():
        print(f"{name:<14}" + "".join(f"{seen.get(column, '-')!s:>22}" for column in SEEN_AS))


if __name__ == "__main__":
    main()
