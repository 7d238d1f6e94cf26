"""The weights of training batches judged by true labels, from the checkpoints of a training. For studies only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from nnunetv2_mlbseg.progress import checkpoint
from nnunetv2_mlbseg.training.restored import TrainedFold, restored
from nnunetv2_mlbseg.weight_quality.picture import COLUMNS, LEAST_WRONG, Exhibit, draw, exhibits_of
from nnunetv2_mlbseg.weight_quality.scores import LabelQuality, judge, summarize
from nnunetv2_mlbseg.weight_quality.weighed_batches import weighed_batches
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.structures import Structures

CHECKPOINTS = ("checkpoint_warmup.pth", "checkpoint_latest.pth", "checkpoint_final.pth")


def measure(
    fold_folder: Path,
    *,
    role: str = "noisy",
    iterations: int = 20,
    seed: int = 0,
    device: torch.device | None = None,
    checkpoints: Sequence[str] | None = None,
    picture: Path | None = None,
    channel: int = 0,
    report: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Judge the weights at every checkpoint of a fold, each on the same batches.

    Args:
        fold_folder: ``.../nnUNetTrainerMLBSeg__nnUNetPlans__2d/fold_0``. Preprocessed true labels are kept in its
            ``true_labels``.
        role: Which imperfect cases: "noisy", or "unlabeled" with their generated labels.
        iterations: Number of batches, of the size the training had.
        checkpoints: File names; None: all of :data:`CHECKPOINTS` that there are.
        picture: PNG file for :func:`draw`, with the weights of the last checkpoint.
        channel: Of the images in it.

    Returns:
        Plain JSON types: what was measured, and under ``checkpoints`` for each file its epoch and, for the imperfect
        and the pseudo label, what :func:`~nnunetv2_mlbseg.weight_quality.scores.summarize` gives.

    Raises:
        InputError: a checkpoint is missing, the training had no weights, there are no cases or no true labels, no such
            channel, or there is nothing wrong that a picture could show.
    """
    names = list(checkpoints or [name for name in CHECKPOINTS if (fold_folder / name).is_file()])
    if not names:
        raise InputError(f"{fold_folder}: no checkpoint, expected one of {', '.join(CHECKPOINTS)}")
    result: dict[str, Any] = {"fold_folder": str(fold_folder), "role": role, "iterations": iterations, "seed": seed}
    result["checkpoints"] = {}
    for name in names:
        found = checkpoint.read(fold_folder / name, device or torch.device("cpu"))
        report(f"{name}: {iterations} batches of {role} cases")
        with restored(found, fold_folder, device or torch.device("cpu")) as fold:
            check_weighs(fold)
            check_channel(fold, channel)
            drawn = (COLUMNS if picture else 0, channel)
            quality, exhibits = judged_batches(fold, role, iterations, seed, drawn, report)
        views = list(fold.settings.all_views)
        result |= {"trainer": fold.trainer, "weighting": fold.weighing.name, "views": views}
        summaries = {label: summarize(judged) for label, judged in quality.items()}
        result["checkpoints"][name] = {"epoch": fold.epoch, **summaries}
    if picture is not None:
        if not exhibits:
            raise InputError(f"{picture}: in {iterations} batches no {role} image has {LEAST_WRONG:.0%} wrong pixels")
        draw(exhibits, picture)
    return result


def check_weighs(fold: TrainedFold) -> None:
    """Refuse a training without weights.

    Raises:
        InputError: it weighs no labels.
    """
    if fold.weighing.weighting is None:
        raise InputError(
            f"{fold.folder}: no weights to judge in {fold.trainer} ({fold.weighing.none_because}), expected a "
            f"training that bootstraps"
        )


def check_channel(fold: TrainedFold, channel: int) -> None:
    """Refuse a channel that the images of a training do not have.

    Raises:
        InputError: it is so.
    """
    channels = fold.method.task.channels
    if not 0 <= channel < channels:
        raise InputError(f"{fold.plans.dataset_name}: channel {channel} of {channels}, expected 0 to {channels - 1}")


def judged_batches(
    fold: TrainedFold, role: str, iterations: int, seed: int, drawn: tuple[int, int], report: Callable[[str], None]
) -> tuple[dict[str, list[LabelQuality]], list[Exhibit]]:
    """Judge so many batches of a role, and keep what some images have to show.

    Args:
        drawn: Of how many images or a few more, the first ones, and in which channel.
    """
    wanted, channel = drawn
    judged: dict[str, list[LabelQuality]] = {"imperfect": [], "pseudo": []}
    exhibits: list[Exhibit] = []
    for weighed, truth in weighed_batches(fold, role, iterations, seed, report):
        for label, quality in judge(weighed.logits, weighed.labels, weighed.views.apply_labels(truth)).items():
            judged[label].append(quality)
        if len(exhibits) < wanted:
            exhibits += exhibits_of(weighed.images[:, channel], weighed.labels, truth, region_names(fold))
    return judged, exhibits


def region_names(fold: TrainedFold) -> tuple[str, ...]:
    """The regions in the order of the outputs; one without a name where classes exclude each other."""
    structures = Structures.of(fold.dataset_json)
    return tuple(structures.values) if structures.regions else ("",)
