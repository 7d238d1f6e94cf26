"""Self-paced contrast: slices that share part, scan or place come near each other, the surest pairs first.

The epochs of the warm-up are a pretraining on the images of all cases, by contrast alone; then the same contrast of
imperfect images stands beside the loss of the clean ones. Contrast is the sum over three marks of slices: the part of
the scan, the scan, the slice itself. A pair whose loss l is above a gate g does not count, one below it counts
1 - l / g (``soft``) or 1 (``hard``). The gate opens over the whole training, g0 + (g1 - g0) sqrt(t / T). A loss grows
with the logarithm of the number of images, so a gate belongs to a batch size. Deviations: as in ``contrastive``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.maths.contrast import PACES, contrast, gate_at, pace, pair_losses, same
from nnunetv2_mlbseg.methods.comparison import SemiSupervised, SemiSupervisedSettings
from nnunetv2_mlbseg.methods.image_vectors import Seen, pretraining, vector_head, vectors
from nnunetv2_mlbseg.settings.rules import number, one_of, whole
from nnunetv2_mlbseg.settings.training import SCHEDULE
from nnunetv2_mlbseg.training.batch import Batch, Images, ImperfectImages
from nnunetv2_mlbseg.training.card import Card
from nnunetv2_mlbseg.training.method import Moment, Task, Terms
from nnunetv2_mlbseg.training.stages import Stage, paired

AUTHORS = "Peng et al. 2021, and their code"


class SelfPacedSettings(SemiSupervisedSettings):
    """The keys of self-paced contrast."""

    ramp_up: float = number(0.0, least=0, most=1, unit="share of the second stage", section=SCHEDULE)
    """How long the contrast beside the clean images rises to its weight. 0: it has it from the start."""
    contrast_weight: float = number(0.1, least=0, unit="factor", source="not in the paper")
    """Factor of the contrast beside the loss of the clean images. In the pretraining it stands alone."""
    temperature: float = number(0.07, least=0, most=10, open_ends=True, source=AUTHORS)
    """What cosines are divided by. The lower it is, the more counts what is hardest to tell apart."""
    parts: int = whole(8, least=2, unit="parts", source=AUTHORS + " (PROMISE12)")
    """Parts of a scan along its slices; slices of the same part should look alike."""
    pace: str = one_of("soft", names=PACES, source=AUTHORS)
    """How a pair's weight falls with its loss. `none`: all pairs count alike, and there is no gate."""
    first_gate: float = number(4.0, least=0, open_ends=True, unit="nats", source=AUTHORS + " (1 to 4)")
    """The gate at the start. 4: with 12 images a pair that is like all others has a loss of 3.1."""
    last_gate: float = number(40.0, least=0, open_ends=True, unit="nats", source=AUTHORS + " (20 to 60)")
    """The gate at the end."""


class SelfPaced(SemiSupervised):
    """Contrast by marks of slices, trusting easy pairs first: as pretraining, then beside the clean cases."""

    Settings: ClassVar = SelfPacedSettings
    settings: SelfPacedSettings
    needs_whole_batch: ClassVar[bool] = True
    quantities: ClassVar[Mapping[str, str]] = {**SemiSupervised.quantities, "contrast": "contrast"}
    card: ClassVar[Card] = Card(
        idea="contrast of slices by part and scan, easy pairs first",
        labels=("clean",),
        images=("clean", "noisy", "unlabeled"),
        cost=3,
        citation="Peng et al., NeurIPS 2021",
    )

    @classmethod
    def stages(cls, settings: Any, plan_batch_size: int, roles: FoldRoles) -> tuple[Stage, ...]:
        """Pretraining on all images, then pairs of clean and imperfect ones."""
        first = pretraining(settings, plan_batch_size, cls.roles(settings), cls.labels_read(settings))
        return (first, paired(settings, plan_batch_size, cls.imperfect(settings, plan_batch_size)))

    @classmethod
    def modules(cls, settings: Any, task: Task) -> nn.ModuleDict:
        """A head for vectors of images."""
        return nn.ModuleDict({"images": vector_head(task)})

    def terms(self, batch: Batch, moment: Moment) -> Terms:
        """Contrast alone in the pretraining, which draws no pairs; then that of the pair."""
        if batch.imperfect is not None:
            return self.terms_of_pair(batch.clean, batch.imperfect, moment)
        return Terms({"contrast": self.of_images(Seen.of(batch.clean), self.gate(moment))[0]})

    def terms_of_pair(self, clean: Images, imperfect: ImperfectImages, moment: Moment) -> Terms:
        """The clean batch, and the contrast of the imperfect one."""
        losses = {"supervised": self.supervised(clean)}
        apart, outputs = self.of_images(Seen.of(imperfect), self.gate(moment))
        losses["contrast"] = self.ramp(moment) * self.settings.contrast_weight * apart
        return Terms(losses | self.face_value(imperfect, [output[: len(imperfect.images)] for output in outputs]))

    def of_images(self, seen: Seen, gate: float) -> tuple[Tensor, list[Tensor]]:
        """The sum over the marks, and the student's logits of both views."""
        found, outputs = vectors(self.passes, self.heads["images"], seen.images)
        losses = pair_losses(found, self.settings.temperature)
        weights = pace(losses, gate, self.settings.pace)
        marks = seen.marks(self.settings.parts).values()
        return sum((contrast(losses, same(mark), weights) for mark in marks), losses.new_zeros(())), outputs

    def gate(self, moment: Moment) -> float:
        """What a pair's loss may be, by the share of the whole training that is done."""
        return gate_at(moment.of_training, self.settings.first_gate, self.settings.last_gate)
