"""LG-ER-MT: a mean teacher with local and global structure, and entropy minimisation.

L = sup + r (w_a <(p - q)^2> + w_l local + w_g <(I(p) - I(q))^2> + w_e <entropy of imperfect images> / ln C), the first
three on all images and as means over classes; r is the ramp, p the student's and q the teacher's probabilities.
Local: in 4 windows of 16 pixels a side, how alike every two pixels are to the student and to the teacher. Global:
I_c = -p_c log p_c / log C.

Weights are those of the authors' code, 0.1, 0.01, 0.01 and 0.01, doubled, because nnU-Net's sup is twice theirs. Their
windows lie in a volume of fixed size; here they lie anywhere in the patch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.entropy import relative_entropy_of_logits
from nnunetv2_mlbseg.maths.structure import class_information, likeness_distance, window
from nnunetv2_mlbseg.maths.tensors import share_of_mean
from nnunetv2_mlbseg.maths.uncertainty import squared_distance
from nnunetv2_mlbseg.methods.mean_teacher import MeanTeacher, MeanTeacherSettings
from nnunetv2_mlbseg.methods.shared.draws import uniform
from nnunetv2_mlbseg.settings.rules import number, whole
from nnunetv2_mlbseg.training.batch import Images, ImperfectImages
from nnunetv2_mlbseg.training.card import Card
from nnunetv2_mlbseg.training.method import Moment, Terms

SOURCE = "the authors' code (0.01 beside a supervised loss of half the size)"


class LGERMTSettings(MeanTeacherSettings):
    """The keys of LG-ER-MT."""

    local_weight: float = number(0.02, least=0, unit="factor", source=SOURCE)
    """Factor of the local structure."""
    global_weight: float = number(0.02, least=0, unit="factor", source=SOURCE)
    """Factor of the global structure."""
    entropy_weight: float = number(0.02, least=0, unit="factor", source=SOURCE)
    """Factor of the entropy of imperfect images."""
    windows: int = whole(4, least=1, unit="windows", source="the authors' code")
    """Windows of a patch in which pixels are compared with each other."""
    window_side: int = whole(16, least=2, unit="pixels", source="the authors' code")
    """Side of a window; a patch that is smaller is its own window."""


class LGERMT(MeanTeacher):
    """Agreement of student and teacher in prediction and structure."""

    Settings: ClassVar = LGERMTSettings
    settings: LGERMTSettings
    quantities: ClassVar[Mapping[str, str]] = {
        **MeanTeacher.quantities,
        "local": "local structure",
        "global": "global structure",
        "entropy": "entropy of imperfect images",
    }
    card: ClassVar[Card] = Card(
        idea="mean teacher with local and global structure",
        labels=("clean",),
        images=("clean", "noisy", "unlabeled"),
        cost=8 / 3,
        citation="Hang et al., MICCAI 2020",
    )

    def terms_of_pair(self, clean: Images, imperfect: ImperfectImages, moment: Moment) -> Terms:
        """The clean batch, structure in all images, certainty in the imperfect ones."""
        outputs = [self.passes.student(batch.images) for batch in (clean, imperfect)]
        p = torch.cat([output[0].softmax(dim=1) for output in outputs])
        q = torch.cat([self.teacher(batch.images) for batch in (clean, imperfect)])
        entropy = share_of_mean(relative_entropy_of_logits(outputs[1][0]), self.passes.total)
        rise = self.ramp(moment)
        losses = {name: rise * term for name, term in self.structure(p, q).items()}
        losses["entropy"] = rise * self.settings.entropy_weight * entropy
        losses["supervised"] = self.supervised(clean, outputs[0])
        return Terms(losses | self.face_value(imperfect, outputs[1]))

    def structure(self, p: Tensor, q: Tensor) -> dict[str, Tensor]:
        """How far the student is from the teacher, ``(B, C, *S)`` both, in three ways."""
        settings, total = self.settings, self.passes.total
        information = squared_distance(class_information(p), class_information(q))
        return {
            "agreement": settings.agreement_weight * share_of_mean(squared_distance(p, q), total),
            "local": settings.local_weight * share_of_mean(self.local(p, q), total),
            "global": settings.global_weight * share_of_mean(information, total),
        }

    def local(self, p: Tensor, q: Tensor) -> Tensor:
        """The distance of likenesses of every image and window, ``(W, B)``."""
        settings = self.settings
        places = uniform(self.passes, (settings.windows, self.task.dims), "windows")
        shown = [[window(each, place, settings.window_side) for each in (p, q)] for place in places]
        return torch.stack([likeness_distance(*pair) for pair in shown])
