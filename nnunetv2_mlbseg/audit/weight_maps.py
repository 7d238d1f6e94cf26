"""How much the training counts the given label and the network's own at every voxel: the weights of Eq. 9 as maps.

Computed afresh from a checkpoint, for whole cases in the geometry of their labels. The pseudo label is the class that
the network finds most probable there. Training sees crops, augmented and in several views; here every slice is seen
once as it is, and derivatives follow the mean of many clean batches where a step of the training follows one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nnunetv2_mlbseg.audit.class_weights import ClassWeights
from nnunetv2_mlbseg.audit.other_labels import OtherLabel
from nnunetv2_mlbseg.maths.labels import IGNORE, ImperfectLabels, labels_that_count
from nnunetv2_mlbseg.maths.weighting.disputes import DisputeRecord
from nnunetv2_mlbseg.maths.weighting.seen import Seen
from nnunetv2_mlbseg.training.method import LabelWeighing
from nnunetv2_mlbseg.training.restored import TrainedFold


@dataclass(frozen=True)
class WeightMaps:
    """Weights of both labels, (G, Z, Y, X) float32, 0 or more, 0 where there is no such label.

    The unit is the mean voxel: with ``weight_normalization`` joint both maps together add up to the number of voxels
    with a label, of regions once for each (with tied weights less what a voxel's rival class gets), with sum each of
    them does, with accepted each has that sum shared by the voxels that it accepts.
    """

    imperfect: Tensor
    pseudo: Tensor

    @property
    def share(self) -> Tensor:
        """The given label's part of a voxel's weight, 0 to 1; 0.5 where neither has any; (Z, Y, X), mean of groups."""
        both = self.imperfect + self.pseudo
        return torch.where(both > 0, self.imperfect / both.clamp_min(1e-12), 0.5).mean(dim=0)


Weigh = Callable[[str, Tensor, Tensor, Tensor, Sequence[OtherLabel]], WeightMaps]
"""(case, the network's probabilities (G, C, Z, Y, X), given labels (G, Z, Y, X) int64 with -1 for none, their depth
levels, further labels) -> its weight maps."""


def seen_case(
    probabilities: Tensor,
    given: Tensor,
    levels: Tensor,
    number: int = -1,
    counted: str = "both",
    derivatives: Tensor | None = None,
) -> Seen:
    """A whole case as a weighting sees a batch: a batch of one with its groups, at one scale.

    Args:
        probabilities: (G, C, Z, Y, X), the network's.
        given: (G, Z, Y, X) int64, negative = no label; there is no pseudo label either.
        levels: (G, Z, Y, X) int64, depth within the label.
        number: Of the noisy case; negative: none.
        counted: ``weighted_labels`` of the training.
        derivatives: (G, C, Z, Y, X), the raw weight that each class would have as a label.
    """
    groups = len(given)
    pseudo = torch.where(given >= 0, probabilities.argmax(dim=1), IGNORE)
    imperfect, pseudo = labels_that_count(given, pseudo, counted)
    generated, case = torch.zeros(groups, dtype=torch.bool), torch.full((groups,), number)
    labels = ImperfectLabels(imperfect, levels, generated, case, groups)
    by_class = None if derivatives is None else (derivatives,)
    return Seen(labels, pseudo, probabilities, (tuple(given.shape[1:]),), by_class)


def with_others(seen: Seen, others: Sequence[OtherLabel], record: DisputeRecord, noisy: int) -> Seen:
    """The same with what all labels of the case say together for its imperfect label; ``noisy``: number of cases."""
    own = seen.imperfect
    kinds = [
        replace(
            own, classes=one.given, levels=one.levels, case=torch.where(own.case >= 0, own.case + one.kind * noisy, -1)
        )
        for one in others
    ]
    return replace(seen, imperfect=record.united([own, *kinds]))


def weight_maps(weighing: LabelWeighing, seen: Seen, voxels: int) -> WeightMaps:
    """The weights of a case, normalised (Eq. 7-8) over it in place of a batch.

    Args:
        voxels: Number of those with a label, in all groups.
    """
    assert weighing.weighting is not None, "none_because says why there is none"
    (found,) = weighing.weighting.weigh(seen, weighing.record)
    return WeightMaps(found.weight_imperfect * voxels, found.weight_pseudo * voxels)


@contextmanager
def weighs(fold: TrainedFold, weighing: LabelWeighing) -> Iterator[Weigh | None]:
    """The weighting of a fold as a function of a case; None where ``weighing`` says that there are no maps.

    Args:
        weighing: That of the fold, its record on the CPU.
    """
    if weighing.none_because is not None:
        yield None
        return
    assert weighing.weighting is not None, "none_because says why there is none"
    with ExitStack() as stack:
        by_class = stack.enter_context(ClassWeights.of(fold)) if weighing.weighting.weighs_by_tangents else None

        def weigh(
            case: str, probabilities: Tensor, given: Tensor, levels: Tensor, others: Sequence[OtherLabel] = ()
        ) -> WeightMaps:
            derivatives = None if by_class is None else by_class.of_case(case)
            number = fold.roles.number(case)
            seen = seen_case(probabilities, given, levels, number, weighing.counted, derivatives)
            if others and isinstance(weighing.record, DisputeRecord):
                seen = with_others(seen, others, weighing.record, len(fold.roles.noisy))
            return weight_maps(weighing, seen, int((given >= 0).sum()))

        yield weigh
