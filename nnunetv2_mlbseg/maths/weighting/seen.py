"""What a weighting looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from nnunetv2_mlbseg.maths.labels import ImperfectLabels, resize_labels


@dataclass(frozen=True)
class Seen:
    """A batch of images, each view and each group counted as one; or a whole case as a batch of one.

    "Scales" are the outputs of a network with deep supervision, finest first; without it there is one. Labels of either
    kind that are not to count are ignored at every pixel (see `labels_that_count`).

    Attributes:
        imperfect: of B images, at full resolution. Only tied weights look at more than the classes.
        pseudo: (B, *S) int64, negative = no label.
        ensemble: (B, C, *S), the probabilities that the pseudo labels were taken from; 0 beyond the image.
        sizes: the spatial shape of every scale.
        derivatives: of every scale (B', C, *S), of the first B' images, see `class_derivatives`; None for a weighting
            that needs none. Only tied weights can do with fewer than all B.
    """

    imperfect: ImperfectLabels
    pseudo: Tensor
    ensemble: Tensor
    sizes: tuple[tuple[int, ...], ...]
    derivatives: tuple[Tensor, ...] | None = None

    def labels_at(self, size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Imperfect and pseudo label at one scale: (B, *size) int64 each."""
        return resize_labels(self.imperfect.classes, size), resize_labels(self.pseudo, size)

    def needed_derivatives(self) -> tuple[Tensor, ...]:
        """The derivatives, for a weighting that cannot do without.

        Raises:
            ValueError: there are none.
        """
        if self.derivatives is None:
            raise ValueError("these weights need the derivatives of the logits (tangents), got None")
        return self.derivatives
