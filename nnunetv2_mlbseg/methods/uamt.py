"""UA-MT: student and teacher should agree where the teacher is sure.

L = sup + w r <(p - q)^2> over classes and those pixels of the imperfect images where U < (0.75 + 0.25 r) ln 2. r is the
ramp, and U the entropy of the mean of T = 8 teacher passes, each with noise and dropout of its own; q is another pass.
The authors' weight 0.1 is doubled, because nnU-Net's sup is twice theirs; their sum over 2 classes, halved, is the mean
over classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from nnunetv2_mlbseg.maths.entropy import entropy
from nnunetv2_mlbseg.maths.masked_mean import mean_where
from nnunetv2_mlbseg.maths.uncertainty import entropy_threshold, mean_of, squared_distance
from nnunetv2_mlbseg.methods.unsure_teacher import UnsureTeacher, UnsureTeacherSettings
from nnunetv2_mlbseg.settings.rules import number
from nnunetv2_mlbseg.training.card import Card
from nnunetv2_mlbseg.training.method import Moment


class UAMTSettings(UnsureTeacherSettings):
    """The keys of UA-MT."""

    threshold_start: float = number(0.75, least=0, unit="ln 2 nats", source="the authors' code")
    """The largest entropy of a pixel that counts, at the start."""
    threshold_end: float = number(1.0, least=0, unit="ln 2 nats", source="the authors' code")
    """The same at the end; it rises as the term does."""


class UAMT(UnsureTeacher):
    """Agreement of student and teacher on those pixels of imperfect images of which the teacher is sure."""

    Settings: ClassVar = UAMTSettings
    settings: UAMTSettings
    quantities: ClassVar[Mapping[str, str]] = {**UnsureTeacher.quantities, "agreement": "distance from a sure teacher"}
    card: ClassVar[Card] = Card(
        idea="student and teacher agree where the teacher is sure",
        labels=("clean",),
        images=("clean", "noisy", "unlabeled"),
        cost=5,
        citation="Yu et al., MICCAI 2019",
    )

    def distance(self, probabilities: Tensor, images: Tensor, moment: Moment) -> Tensor:
        """Mean squared distance from the teacher, over classes and the pixels of which it is sure."""
        settings = self.settings
        threshold = entropy_threshold(self.ramp(moment), settings.threshold_start, settings.threshold_end)
        apart = squared_distance(probabilities, self.teacher(images))
        return mean_where(self.uncertainty(images) < threshold, apart, self.passes.total)

    def uncertainty(self, images: Tensor) -> Tensor:
        """The entropy of the teacher's mean prediction under noise and dropout, ``(B, *S)`` in nats."""
        passes = range(self.settings.uncertainty_passes)
        return entropy(mean_of(self.teacher(images, "uncertainty") for _ in passes))
