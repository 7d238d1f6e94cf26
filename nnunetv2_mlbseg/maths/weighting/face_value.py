"""Weights where a label is of a class that no clean image shows: the given label counts as it is.

The clean images cannot say which of a pixel's two labels is right if one of them is such a class. There the imperfect
label of a noisy case is taken at face value. These labels are a third map beside the two of Eq. 8: normalised by the
sum of all maps ("joint"), where each label counts as much as the mean pixel, or by its own. A generated label knows
nothing of such a class, and the network's own word would teach it whatever it happens to say: there neither label
counts. All other pixels are weighed as if there were no such class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.labels import IGNORE, WeightedLabels, resize_labels
from nnunetv2_mlbseg.maths.records import Record
from nnunetv2_mlbseg.maths.tensors import Total, unchanged
from nnunetv2_mlbseg.maths.unshown import Unshown
from nnunetv2_mlbseg.maths.weighting.seen import Seen


@dataclass(frozen=True)
class FaceValue:
    """A weighting for the pixels that clean images can judge; of the others the given label counts.

    Attributes:
        weighting: Of one of the shapes in `strategies`, as this one is.
        unshown: The classes that no clean image shows.
    """

    weighting: Any
    unshown: Unshown

    @property
    def needs_tangents(self) -> bool:
        """As the weighting inside."""
        return bool(self.weighting.needs_tangents)

    @property
    def weighs_by_tangents(self) -> bool:
        """As the weighting inside."""
        return bool(self.weighting.weighs_by_tangents)

    def begin(self, classes: int, cases: int = 0, device: torch.device | str = "cpu", groups: int = 1) -> Record:
        """The state of the weighting inside."""
        state: Record = self.weighting.begin(classes, cases, device, groups)
        return state

    def learned(self, seen: Seen, state: Record, total: Total = unchanged) -> Record:
        """The state with one more batch in it, of which the weighting sees what can be judged."""
        state = self.weighting.learned(judged(seen, self.unshown), state, total)
        return state

    def weigh(self, seen: Seen, state: Record, total: Total = unchanged) -> list[WeightedLabels]:
        """What the weighting finds, and the labels at face value."""
        weighted = self.weighting.weigh(judged(seen, self.unshown), state, total)
        return with_face_value(weighted, face_values(seen, self.unshown), self.weighting.normalization, total)


def judged(seen: Seen, unshown: Unshown) -> Seen:
    """What clean images can judge: no label where one of the two is of an unshown class, and no such probability."""
    out = _out(seen, unshown)
    imperfect = seen.imperfect.without(lambda labels: out | unshown.among(labels))
    pseudo = torch.where(out, IGNORE, seen.pseudo)
    return replace(seen, imperfect=imperfect, pseudo=pseudo, ensemble=unshown.without(seen.ensemble))


def face_values(seen: Seen, unshown: Unshown) -> Tensor:
    """The given labels that count as they are: (B, *S) int64, ignored elsewhere."""
    given = ~seen.imperfect.generated.view(-1, *[1] * (seen.pseudo.ndim - 1))
    return torch.where(_out(seen, unshown) & given, seen.imperfect.classes, IGNORE)


@torch.no_grad()
def with_face_value(
    weighted: Sequence[WeightedLabels], face: Tensor, how: str, total: Total = unchanged
) -> list[WeightedLabels]:
    """Weighted labels with some more, all of which weigh the same.

    Args:
        weighted: At every scale; without a label where ``face`` has one.
        face: (B, *S) int64 at full resolution, negative = none.
        how: the normalization. With "joint" each gets the mean weight of a labelled pixel, and the sum of all weights
            stays; otherwise they add up to 1 themselves.
        total: sums over the processes that share a batch.

    Returns:
        The same with the labels of ``face`` for imperfect ones. Their raw weight is 0.
    """
    found = []
    for labels in weighted:
        here = resize_labels(face, labels.imperfect.shape[1:])
        there, known = here >= 0, (labels.imperfect >= 0) | (labels.pseudo >= 0)
        weights = torch.stack([weight for _, weight in labels.pairs()])
        sums = total(torch.stack([weights.sum(), known.sum().to(weights.dtype), there.sum().to(weights.dtype)]))
        if how == "joint":
            pixels = (sums[1] + sums[2]).clamp_min(1)
            weights, each = weights * (sums[1] / pixels), sums[0] / pixels
        else:
            each = 1 / sums[2].clamp_min(1)
        of_imperfect = torch.where(there, each, weights[0])
        more = {} if labels.rival is None else {"weight_rival": weights[2]}
        imperfect = torch.where(there, here, labels.imperfect)
        found.append(
            replace(labels, imperfect=imperfect, weight_imperfect=of_imperfect, weight_pseudo=weights[1], **more)
        )
    return found


def _out(seen: Seen, unshown: Unshown) -> Tensor:
    """Pixels that clean images cannot judge."""
    return unshown.among(seen.imperfect.classes) | unshown.among(seen.pseudo)
