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

from nnunetv2_mlbseg import checkpoint, random_state
from nnunetv2_mlbseg.bootstrapping import as_labels
from nnunetv2_mlbseg.pseudo_labels import ensemble_probabilities
from nnunetv2_mlbseg.trainer import nnUNetTrainerMLBSeg
from nnunetv2_mlbseg.views import Views, draw_views
from nnunetv2_mlbseg.weight_measurement import loader_with_truth, restored_trainer

ZOOMS = (("zoom_in", (1.05, 1.1, 1.15, 1.2, 1.3, 1.4)), ("zoom_out", (0.95, 0.9, 0.8, 0.7)))
SEEN_AS = ("in view", "with image", "with image and flip")


class PooledDice:
    """Dice of foreground over the pixels of many batches; pixels without a true label do not count."""

    def __init__(self) -> None:
        self.common = self.extent = 0

    def add(self, probabilities: Tensor, truth: Tensor) -> None:
        """Count ``(B, C, *S)`` against ``(B, *S)``."""
        predicted, known = probabilities.argmax(dim=1), truth >= 0
        same = (predicted == truth) & (truth > 0)
        self.common += 2 * int(same.sum())
        self.extent += int(((predicted > 0) & known).sum()) + int((truth > 0).sum())

    def __str__(self) -> str:
        return f"{100 * self.common / self.extent:.1f}" if self.extent else "-"


def views_to_compare(images: int) -> dict[str, Views]:
    """By name, the image, one view of a fixed factor and one flip; the flips are the same for all names."""
    found = {}
    for kind, factors in ZOOMS:
        for factor in factors:
            generator = torch.Generator().manual_seed(0)
            factor_of_kind = {kind: (factor, factor)}
            found[f"{kind} {factor}"] = draw_views((kind, "flip"), images, 2, generator, **factor_of_kind)
    return found


@torch.no_grad()
def measure(trainer: nnUNetTrainerMLBSeg, iterations: int) -> dict[str, dict[str, PooledDice]]:
    """Dice by view and by what it is seen with; ``image`` and ``flip`` stand for themselves."""
    random_state.seed_everything(0)
    loader, teacher = loader_with_truth(trainer, "noisy"), trainer.teacher
    found: dict[str, dict[str, PooledDice]] = defaultdict(lambda: defaultdict(PooledDice))
    for _ in range(iterations):
        batch = next(loader)
        target = batch["imperfect_target"]
        target = target[0] if isinstance(target, list) else target
        truth = as_labels(target[:, 1:], trainer.label_manager.ignore_label)
        images = len(truth)
        for name, views in views_to_compare(images).items():
            output = teacher(views.apply(batch["imperfect_data"]))
            output = output if isinstance(output, Tensor) else output[0]
            probabilities = output.softmax(dim=1)
            true_in_views = views.apply_labels(truth).unflatten(0, (len(views), images))
            aligned, covered = views.invert(probabilities), views.covered(truth.shape[1:])
            seen = found[name]
            seen["in view"].add(probabilities[images : 2 * images], true_in_views[1])
            seen["with image"].add(ensemble_probabilities(aligned[:2], covered[:2]), truth)
            seen["with image and flip"].add(ensemble_probabilities(aligned, covered), truth)
        # The last views have the image and the flip of all others.
        found["image"]["in view"].add(probabilities[:images], truth)
        found["flip"]["in view"].add(probabilities[2 * images :], true_in_views[2])
        found["flip"]["with image"].add(ensemble_probabilities(aligned[::2], covered[::2]), truth)
    return found


def main() -> None:
    """Measure the final checkpoint and print a row per view."""
    parser = argparse.ArgumentParser(description="Dice of a network's predictions in each view, and of ensembles")
    parser.add_argument("model_folder", type=Path, help="holds plans.json and fold_*")
    parser.add_argument("-f", dest="fold", default="0", help="fold (default: %(default)s)")
    parser.add_argument("--iterations", type=int, default=40, help="batches drawn (default: %(default)s)")
    args = parser.parse_args()
    folder, cpu = args.model_folder / f"fold_{args.fold}", torch.device("cpu")
    with restored_trainer(checkpoint.read(folder / "checkpoint_final.pth", cpu), folder, cpu) as trainer:
        found = measure(trainer, args.iterations)
    print(f"{'view':<14}" + "".join(f"{column:>22}" for column in SEEN_AS))
    for name in ("image", "flip", *(name for name in found if name not in ("image", "flip"))):
        print(f"{name:<14}" + "".join(f"{found[name].get(column, '-')!s:>22}" for column in SEEN_AS))


if __name__ == "__main__":
    main()
