"""How former labels of clean cases err: counted, where other labels are judged by a network."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from nnunetv2_mlbseg.cases.former_labels import FormerPair
from nnunetv2_mlbseg.maths.labels import IGNORE
from nnunetv2_mlbseg.maths.unshown import Unshown
from nnunetv2_mlbseg.maths.weighting.depth import LEVELS
from nnunetv2_mlbseg.maths.weighting.told_apart import pair_counts
from nnunetv2_mlbseg.training.task import Task


def known_errors(pairs: Iterable[FormerPair], task: Task, by_depth: bool = True) -> Tensor:
    """Pixels by true and former label, ((1+S)*G, C, C, D), as `ConfusionRecord.known` has them; on the CPU.

    Args:
        pairs: Of all clean training cases that had another label.
        by_depth: Whether labels are told apart by depth.

    Labels of a class that no clean case shows are not judged, so they do not count.
    """
    unshown = Unshown.of(task.unshown, task.heads, regions=task.regions > 0)
    sources = 1 + max(task.sources, default=-1)
    found = torch.zeros(1 + sources, task.space.groups, task.classes, task.classes, LEVELS)
    for pair in pairs:
        former = pair.former if unshown is None else torch.where(unshown.among(pair.former), IGNORE, pair.former)
        levels = pair.levels if by_depth else torch.zeros_like(pair.levels)
        for group, labels in enumerate(zip(pair.truth, former, levels, strict=True)):
            found[1 + pair.source, group] += pair_counts(*labels, task.classes)
    return found.flatten(0, 1)
