"""Mean teacher with confident learning (MTCL): the teacher finds wrong pixels of noisy labels and corrects them.

L = sup + r (w <sum_c (p_c - q_c)^2> / C + v (Dice + CE)(p, n')) with the teacher's q and the ramp r. Agreement is asked
for on all images. n' are the noisy labels, and where confident learning doubts one, what the teacher holds for most
probable: all of it (``hard``), 0.8 of it, or as much of it as the teacher is certain. Weights are those of the authors'
script, doubled, because nnU-Net's sup is twice theirs. Deviations: soft labels are soft (their script rounds 0.8 down
to 0); certainty is 1 - relative entropy of one pass of the teacher (theirs: of eight with dropout); where a label is
doubted there is a teacher for every number of classes (theirs flips two).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.confident_joint import doubtful_labels
from nnunetv2_mlbseg.maths.consistency import teacher_consistency
from nnunetv2_mlbseg.maths.entropy import entropy
from nnunetv2_mlbseg.maths.labels import Mixture, as_labels
from nnunetv2_mlbseg.maths.mixture_loss import mixture_loss
from nnunetv2_mlbseg.methods.comparison import OF_CLEAN, Comparison, ComparisonSettings
from nnunetv2_mlbseg.methods.noisy_labels import noisy_target
from nnunetv2_mlbseg.methods.shared.draws import disturbed
from nnunetv2_mlbseg.settings.rules import number, one_of
from nnunetv2_mlbseg.settings.training import SCHEDULE
from nnunetv2_mlbseg.training.batch import Images, ImperfectImages
from nnunetv2_mlbseg.training.card import Card
from nnunetv2_mlbseg.training.method import Moment, Terms

CORRECTIONS = ("hard", "smooth", "certainty")
SMOOTH = 0.8
"""How much of a doubted label ``smooth`` replaces."""


class MTCLSettings(ComparisonSettings):
    """The keys of the mean teacher with confident learning."""

    ramp_up: float = number(
        0.75, least=0, most=1, unit="share of the training", section=SCHEDULE, source="6,000 of 8,000 iterations"
    )
    """How long the method's terms rise to their weight. 0: they have it from the start."""
    agreement_weight: float = number(
        0.2, least=0, unit="factor", source="the authors' script (0.1 beside a supervised loss of half the size)"
    )
    """Factor of the squared distance between student and teacher, mean over the classes."""
    corrected_weight: float = number(
        0.5,
        least=0,
        unit="factor",
        source="the authors' script (0.25 beside a supervised loss of half the size)",
    )
    """Factor of nnU-Net's loss of the corrected labels."""
    correction: str = one_of("hard", names=CORRECTIONS, source="Xu et al. 2022 (hard for 3D)")
    """How much of a doubted label the teacher's replaces. `hard`: all. `smooth`: 0.8. `certainty`: as sure as it is."""
    teacher_noise: float = number(
        0.1,
        least=0,
        unit="standard deviations of the normalised image",
        source="the authors' script; cut off at twice that",
    )
    """Noise on the teacher's input, cut off at twice that."""


class MTCL(Comparison):
    """Agreement with the teacher everywhere, and noisy labels with the teacher's corrections."""

    Settings: ClassVar = MTCLSettings
    settings: MTCLSettings
    needs_whole_batch: ClassVar[bool] = True
    quantities: ClassVar[Mapping[str, str]] = {
        **OF_CLEAN,
        "agreement": "distance from the teacher",
        "corrected": "noisy labels, corrected",
    }
    card: ClassVar[Card] = Card(
        idea="a teacher finds and corrects wrong pixels of noisy labels",
        labels=("clean", "noisy"),
        images=("clean", "noisy", "unlabeled"),
        cost=8 / 3,
        citation="Xu et al., IEEE TMI 2022",
    )

    def terms_of_pair(self, clean: Images, imperfect: ImperfectImages, moment: Moment) -> Terms:
        """The clean batch, agreement on both, and the corrected labels of the imperfect one."""
        settings, passes = self.settings, self.passes
        of_clean, outputs = passes.student(clean.images), passes.student(imperfect.images)
        ours = torch.cat([of_clean[0], outputs[0]]).softmax(dim=1)
        images = torch.cat([clean.images, imperfect.images])
        theirs = passes.teacher(disturbed(passes, images, settings.teacher_noise))
        apart = teacher_consistency(ours, theirs, passes.total) / self.task.classes
        ramp, teacher = self.ramp(moment), theirs[len(clean.images) :]
        losses = {"supervised": self.supervised(clean, of_clean)}
        losses["agreement"] = ramp * settings.agreement_weight * apart
        losses["corrected"] = ramp * settings.corrected_weight * self.corrected(outputs, imperfect, teacher)
        return Terms(losses)

    def corrected(self, outputs: list[Tensor], imperfect: ImperfectImages, teacher: Tensor) -> Tensor:
        """Dice and cross-entropy towards the corrected labels, at all scales.

        Args:
            teacher: Its probabilities, ``(B, C, *S)``.
        """
        labels = as_labels(noisy_target(imperfect, self.task.ignore_label), self.task.ignore_label)
        replaced = replaced_part(teacher, labels, self.settings.correction)
        return mixture_loss(outputs, corrected_labels(labels, teacher, replaced), self.passes.scale_factors)


def replaced_part(teacher: Tensor, labels: Tensor, correction: str) -> Tensor:
    """How much of every label gives way to the teacher's, ``(B, *S)``: 0 where confident learning does not doubt it."""
    doubted = doubtful_labels(teacher, labels).to(teacher.dtype)
    if correction == "certainty":
        return doubted * (1 - entropy(teacher) / math.log(teacher.shape[1]))
    return doubted * SMOOTH if correction == "smooth" else doubted


def corrected_labels(labels: Tensor, teacher: Tensor, replaced: Tensor) -> Mixture:
    """n': every label, and the teacher's most probable class for the part of it that is replaced."""
    named = torch.where(labels >= 0, teacher.argmax(dim=1), labels)
    return Mixture.of([labels, named], [1 - replaced, replaced])
