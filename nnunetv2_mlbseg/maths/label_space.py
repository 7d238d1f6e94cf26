"""What the outputs of a network mean: exclusive classes, or regions that may overlap.

A region is a set of classes, such as a tumour with all its parts; a network has one output for each region, and the
sigmoid of it is the probability of being inside. That is the softmax of (0, z). So R regions are R *groups* of two
exclusive classes, outside and inside, and exclusive classes are one group. Formulas take every (image, group) for an
image, "folded": (B*G, C, *S), the groups of an image one after the other. With one group nothing is changed or copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.labels import IGNORE, as_labels


@dataclass(frozen=True)
class LabelSpace:
    """How outputs and targets of a network become folded ones, and back.

    Attributes:
        regions: R, or 0 where classes are exclusive.
    """

    regions: int = 0

    @property
    def groups(self) -> int:
        """G: a group for each region; one for all exclusive classes."""
        return max(self.regions, 1)

    def logits(self, output: Tensor) -> Tensor:
        """Logits (B, R, *S) of regions, or derivatives of them, as (B*R, 2, *S); those of classes as they are."""
        if not self.regions:
            return output
        inside = output.flatten(0, 1)
        return torch.stack([torch.zeros_like(inside), inside], dim=1)

    def output(self, logits: Tensor) -> Tensor:
        """Undo :meth:`logits`."""
        return logits[:, 1].unflatten(0, (-1, self.regions)) if self.regions else logits

    def channels(self, ignore_label: int | None) -> int:
        """How many of a target a label has."""
        return self.regions + (ignore_label is not None) if self.regions else 1

    def labels(self, target: Tensor | Sequence[Tensor], ignore_label: int | None, kind: int = 0) -> Tensor:
        """nnU-Net's target as class indices (B*G, *S) int64 with ignored pixels negative; of a list, the finest.

        Args:
            target: (B, 1, *S); of regions (B, R, *S), whether a pixel is inside, and with an ignore label one more
                channel, which says where there is no label.
            kind: Where labels of other kinds travel along, which of them, in further channels.
        """
        if not self.regions:
            return as_labels(target, ignore_label, channel=kind)
        channels = self.channels(ignore_label)
        finest = (target if isinstance(target, Tensor) else target[0])[:, kind * channels : (kind + 1) * channels]
        labels = finest[:, : self.regions].long()
        if ignore_label is not None:
            labels = torch.where(finest[:, self.regions :] > 0, IGNORE, labels)
        return labels.flatten(0, 1)

    def of_images(self, values: Tensor) -> Tensor:
        """What is known of every image (B,), for each of its groups: (B*G,)."""
        return values.unsqueeze(1).expand(-1, self.groups).flatten()
