"""Which unlabeled cases to label next: those whose prediction is probably poor, and that are unlike what is labelled.

How poor: 1 - the Dice that the network's own label can expect (:mod:`case_scores`). How unlike: the distance of its
image to the nearest one that is clean or chosen before, in what the encoder sees, mean over the whole case, every
feature standardised. Chosen one by one by their product (:func:`core_set`), so that twins are not labelled twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nnunetv2_mlbseg.audit.case_scores import label_scores
from nnunetv2_mlbseg.audit.label_groups import LabelGroups
from nnunetv2_mlbseg.audit.network_opinion import NetworkOpinion, Opinion
from nnunetv2_mlbseg.audit.request import Progress
from nnunetv2_mlbseg.maths.core_set import Choice, core_set, standardised
from nnunetv2_mlbseg.networks.features import encoder_and_decoder, mean_features
from nnunetv2_mlbseg.training.restored import TrainedFold
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.structures import Structures

NOVEL = 0.5
"""A case this far away, or farther, is called unlike the others; 1 is the farthest of all from the clean cases."""


def check_choice(fold: TrainedFold) -> None:
    """Refuse to choose, before any work is done, where there is nothing to choose from or no encoder to ask.

    Raises:
        InputError: the fold has no unlabeled case, or the network no encoder.
    """
    if not fold.roles.unlabeled:
        raise InputError(
            f"{fold.plans.dataset_name}: fold {fold.fold} has no unlabeled training case, expected some to choose "
            "from; leave out --to-label, or name unlabeled cases in supervision/unlabeled.json"
        )
    encoder_and_decoder(fold.teacher)


def cases_to_label(fold: TrainedFold, count: int, progress: Progress) -> list[dict[str, Any]]:
    """The ``count`` unlabeled training cases of a fold to label next, best first; all where there are fewer.

    Args:
        progress: Passes the names of the cases on as they are worked on.

    Returns:
        Rows with ``rank``, ``case``, ``expected_gain`` and ``expected_dice``, 0 to 1, and ``why`` in words.
    """
    clean, unlabeled = fold.roles.clean, fold.roles.unlabeled
    groups = LabelGroups(Structures.of(fold.dataset_json))
    features: list[Tensor] = []
    dice: list[float] = []
    with NetworkOpinion.of(fold) as opinion:
        for case in progress([*clean, *unlabeled]):
            with mean_features(fold.teacher) as seen:
                if len(features) < len(clean):
                    opinion.network(case)
                else:
                    dice.append(expected_dice(opinion.of_case(case), groups, fold.slice_axis))
            features.append(seen.mean)
    return rows(clean, unlabeled, torch.stack(features), dice, count)


def expected_dice(opinion: Opinion, groups: LabelGroups, axis: int) -> float:
    """The Dice that the network's own label can expect under the mean of both networks' probabilities, 0 to 1.

    Where the network finds nothing at all, 1 - the largest probability that there is something at a voxel.
    """
    belief, own = groups.probabilities(opinion.both), groups.probabilities(opinion.network).argmax(dim=1)
    if not own.any():
        return 1 - float(belief[:, 1:].max())
    return label_scores(belief, own, axis).case


def rows(
    clean: Sequence[str], unlabeled: Sequence[str], features: Tensor, dice: Sequence[float], count: int
) -> list[dict[str, Any]]:
    """Choose by what is known of the cases.

    Args:
        features: (M + N, F), those of the clean cases first.
        dice: Of the unlabeled cases.
    """
    known = standardised(features)
    covered, candidates = known[: len(clean)], known[len(clean) :]
    farthest = float(torch.cdist(candidates, covered).min(dim=1).values.max())
    unit = max(farthest, torch.finfo(known.dtype).tiny)
    worth = 1 - torch.tensor(dice, dtype=known.dtype)
    names = [*clean, *unlabeled]
    return [
        {
            "rank": rank,
            "case": unlabeled[choice.number],
            "expected_gain": choice.gain,
            "expected_dice": dice[choice.number],
            "why": f"expected Dice {dice[choice.number]:.2f}; {likeness(choice, names, len(clean))}",
        }
        for rank, choice in enumerate(core_set(covered / unit, candidates / unit, worth, count), start=1)
    ]


def likeness(choice: Choice, names: Sequence[str], clean: int) -> str:
    """How a case lies among the others, in words; the first ``clean`` of the names are of clean cases."""
    nearest, before = names[choice.nearest], choice.nearest >= clean
    if choice.distance >= NOVEL:
        return "unlike any clean scan" + (f" and {nearest}, above" if before else "")
    return f"close to {nearest}, above" if before else f"close to the clean scan {nearest}"
