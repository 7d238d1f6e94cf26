"""SDCL: copy-paste (BCP) with two students, who correct themselves and doubt where they differ.

L = sum over both students of BCP's loss + w_c correction + w_d doubt, the latter two over the pixels where the
students' labels differ, with BCP's weights for pixels from clean and from imperfect images. The teacher follows student
1, which predicts. Weights are those of the authors' code, doubled, because nnU-Net's sup is twice theirs. Their second
student is a residual network and their optimiser Adam; here both are of the plan, initialised differently.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from nnunetv2_mlbseg.maths.disagreement import correction, doubt
from nnunetv2_mlbseg.maths.labels import as_labels
from nnunetv2_mlbseg.maths.pseudo_labels import pseudo_labels
from nnunetv2_mlbseg.methods.bcp import BCP, BCPSettings
from nnunetv2_mlbseg.methods.pasting import Pasted, with_a_box_of_the_next
from nnunetv2_mlbseg.methods.second_student import WithSecondStudent
from nnunetv2_mlbseg.settings.rules import number
from nnunetv2_mlbseg.training.batch import Images, ImperfectImages
from nnunetv2_mlbseg.training.card import Card
from nnunetv2_mlbseg.training.method import Moment, Terms

DOUBLED = "the authors' code, doubled beside nnU-Net's supervised loss"


class SDCLSettings(BCPSettings):
    """The keys of SDCL."""

    correction_weight: float = number(1.0, least=0, unit="factor", source=DOUBLED + " (0.5)")
    """Factor of the squared distance from the label where students differ."""
    doubt_weight: float = number(0.1, least=0, unit="factor", source=DOUBLED + " (0.05)")
    """Factor of the pull towards equal probabilities where students differ and the prediction is not the label."""


class SDCL(WithSecondStudent, BCP):
    """Two students of pasted images."""

    Settings: ClassVar = SDCLSettings
    settings: SDCLSettings
    quantities: ClassVar[Mapping[str, str]] = {
        **BCP.quantities,
        "correction": "correction where students differ",
        "doubt": "doubt where students differ",
        "supervised_2": "pixels of clean images, second student",
        "noisy_2": "noisy labels at face value, second student",
        "pseudo_2": "pixels of imperfect images, second student",
        "correction_2": "correction, second student",
        "doubt_2": "doubt, second student",
    }
    card: ClassVar[Card] = Card(
        idea="copy-paste with two students who doubt where they differ",
        labels=("clean",),
        images=("clean", "noisy", "unlabeled"),
        cost=13 / 3,
        citation="Song and Wang, MICCAI 2024",
    )

    def of_clean(self, clean: Images) -> dict[str, Tensor]:
        """The loss of clean images with boxes of clean ones in them, for both students."""
        labels = as_labels(clean.target, self.task.ignore_label)
        images, labels = with_a_box_of_the_next(self.boxes(labels), clean.images, labels)
        return {
            "supervised": self.labelled(self.passes.student(images), labels),
            "supervised_2": self.labelled(self.passes.through(self.heads["second"], images), labels),
        }

    def terms_of_pair(self, clean: Images, imperfect: ImperfectImages, moment: Moment) -> Terms:
        """Both students on the same pasted images."""
        mixed, second = self.pasted(clean, imperfect), self.heads["second"]
        outputs = [self.passes.student(mixed.images), self.passes.through(second, mixed.images)]
        differing = pseudo_labels(outputs[0][0]) != pseudo_labels(outputs[1][0])
        ramp, of_each = self.ramp(moment), []
        for one in outputs:
            of_each.append(self.of_pasted(one, mixed, ramp) | self.of_differing(one[0], mixed, differing, ramp))
        if self.settings.noisy_labels == "face":
            of_each[0] |= self.face_value(imperfect, self.passes.student(imperfect.images))
            of_each[1] |= self.face_value(imperfect, self.passes.through(second, imperfect.images))
        return Terms(of_each[0] | {f"{name}_2": loss for name, loss in of_each[1].items()})

    def of_differing(self, logits: Tensor, mixed: Pasted, differing: Tensor, ramp: float) -> dict[str, Tensor]:
        """Correction and doubt of one student, with BCP's weights."""
        found = {}
        for name, term in (("correction", correction), ("doubt", doubt)):
            of_kinds = [term(logits, labels, differing, self.passes.total) for labels in (mixed.clean, mixed.pseudo)]
            weight = getattr(self.settings, f"{name}_weight")
            found[name] = ramp * weight * (of_kinds[0] + self.settings.pseudo_weight * of_kinds[1])
        return found
