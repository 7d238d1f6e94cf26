"""Further labels of an audited case, by other readers or models: each is one more witness of what is true."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dataset_conversion.raw.further import folder_of_source
from nnunetv2_mlbseg.audit.bayes import case_confusion, posterior
from nnunetv2_mlbseg.audit.common_knowledge import factors
from nnunetv2_mlbseg.audit.label_files import LabelFolder, labels_of
from nnunetv2_mlbseg.audit.label_groups import LabelGroups
from nnunetv2_mlbseg.audit.witnesses import Witnesses
from nnunetv2_mlbseg.maths.labels import IGNORE
from nnunetv2_mlbseg.maths.unshown import Unshown
from nnunetv2_mlbseg.training.restored import TrainedFold


@dataclass(frozen=True)
class OtherLabel:
    """A further label of a case.

    Attributes:
        kind: Which of the kinds of labels, from 1 (see :attr:`~nnunetv2_mlbseg.training.task.Task.kinds`).
        given: (G, Z, Y, X) int64, negative = no label.
        levels: (G, Z, Y, X), how deep a voxel lies within it.
        witnesses: What is known of labels of its source.
    """

    kind: int
    given: Tensor
    levels: Tensor
    witnesses: Witnesses


def other_folders(fold: TrainedFold, raw: Path) -> list[LabelFolder]:
    """Where the further labels lie that a fold has trained with, kind by kind."""
    return [labels_of(fold, raw, folder_of_source(source)) for source in fold.further]


def labels_there(folders: Sequence[LabelFolder], case: str) -> Iterator[tuple[int, LabelFolder]]:
    """The kinds of further labels that a case has, and where they lie."""
    return ((kind, folder) for kind, folder in enumerate(folders, start=1) if folder.path(case).is_file())


@torch.no_grad()
def heard(both: Tensor, others: Sequence[OtherLabel], groups: LabelGroups, unshown: Unshown | None = None) -> Tensor:
    """What networks and further labels say together, before the label under audit is heard.

    How each label errs is found by the networks alone, as it is for the label under audit.

    Args:
        both: (G, C, *S), the networks' probabilities.
        unshown: Classes that no clean case shows; labels of them are not heard.

    Returns:
        (G, C, *S), adds up to 1.
    """
    found = both
    for other in others:
        given = other.given if unshown is None else torch.where(unshown.among(other.given), IGNORE, other.given)
        common, parts = other.witnesses.common(groups), []
        priors = other.witnesses.confusion(groups)
        for e, said, n, d, prior, shared in zip(both, found, given, other.levels, priors, common, strict=True):
            beside = factors(e, shared)
            parts.append(posterior(said, n, d, case_confusion(e, n, d, prior, beside), beside))
        found = torch.stack(parts)
    return found
