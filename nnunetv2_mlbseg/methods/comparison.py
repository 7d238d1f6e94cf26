"""Comparison methods: others' methods on one footing, so that only what they learn from differs.

Each brings its losses and nothing else. Plan, preprocessing, augmentation, network, optimiser and schedule are
nnU-Net's, as for MLB-Seg. A step has as many imperfect images as clean ones. The number of iterations is that of all
trainers, and the last checkpoint counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from torch import Tensor

from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.maths.labels import resize_labels
from nnunetv2_mlbseg.maths.schedules import ramp_up
from nnunetv2_mlbseg.settings.rules import number, one_of
from nnunetv2_mlbseg.settings.training import NETWORKS, TEACHER, TrainingSettings
from nnunetv2_mlbseg.training.batch import Batch, Images, ImperfectImages
from nnunetv2_mlbseg.training.card import Card
from nnunetv2_mlbseg.training.method import Method, Moment, Terms
from nnunetv2_mlbseg.training.stages import Draw, Stage, paired
from noise_synthesis.safe_io.errors import InputError

OF_CLEAN: Mapping[str, str] = {"supervised": "clean batch"}


class SteadySettings(TrainingSettings):
    """The keys of every comparison method. Factors of loss terms are keys that end in ``_weight``."""

    inference_network: str = one_of(
        "student", names=NETWORKS, section=TEACHER, source="what the authors of the comparison methods predict with"
    )
    """The network that `checkpoint_final.pth` predicts with."""


class ComparisonSettings(SteadySettings):
    """The same for methods whose terms rise to their weight."""

    ramp_up: float = number(1.0, least=0, most=1, unit="share of the training", source="Laine and Aila, ICLR 2017")
    """How long the method's terms rise to their weight. 0: they have it from the start."""


class Comparison(Method):
    """The base of comparison methods: one stage of pairs, without a warm-up.

    A subclass has a :attr:`card`, names its terms in ``quantities`` and makes them in :meth:`terms_of_pair`. Labels of
    roles that :meth:`labels_read` does not name never reach it: the loaders leave them blank.
    """

    Settings: ClassVar[type[TrainingSettings]] = ComparisonSettings
    card: ClassVar[Card]
    quantities: ClassVar[Mapping[str, str]] = OF_CLEAN

    @classmethod
    def labels_read(cls, settings: Any) -> tuple[str, ...]:
        """The roles whose labels the method may read."""
        return cls.card.labels

    @classmethod
    def roles(cls, settings: Any) -> tuple[str, ...]:
        """The roles whose images it sees."""
        return cls.card.images

    @classmethod
    def noisy_teach_unshown(cls, settings: Any) -> bool:
        """Yes, where noisy labels are read."""
        return "noisy" in cls.labels_read(settings)

    @classmethod
    def imperfect(cls, settings: Any, plan_batch_size: int) -> Draw:
        """The imperfect images of a step: as many as clean ones, unless the settings say otherwise."""
        roles = tuple(role for role in cls.roles(settings) if role != "clean")
        images = settings.imperfect_batch_size or plan_batch_size
        blank = tuple(role for role in roles if role not in cls.labels_read(settings))
        return Draw(roles, images, "imperfect_batch_size", blank=blank)

    @classmethod
    def stages(cls, settings: Any, plan_batch_size: int, roles: FoldRoles) -> tuple[Stage, ...]:
        """Pairs of a clean and an imperfect batch, for as long as MLB-Seg trains with its warm-up.

        Raises:
            InputError: none of the imperfect cases that the method learns from is there.
        """
        draw = cls.imperfect(settings, plan_batch_size)
        stage = replace(paired(settings, plan_batch_size, draw), epochs=settings.warmup_epochs + settings.epochs)
        if draw.cases(roles):
            return (stage,)
        if cls.needs_imperfect:
            raise InputError(
                f"the fold has no {' or '.join(draw.roles)} training case, expected at least one, which "
                f"{cls.__name__} learns from; train with nnUNetTrainerMLBSegCleanOnly"
            )
        return (replace(stage, imperfect=None, paced_by=None),)

    def terms(self, batch: Batch, moment: Moment) -> Terms:
        """Those of the pair of batches that every step has."""
        assert batch.imperfect is not None, "stages of a comparison method draw pairs"
        return self.terms_of_pair(batch.clean, batch.imperfect, moment)

    def terms_of_pair(self, clean: Images, imperfect: ImperfectImages, moment: Moment) -> Terms:
        """The loss terms of a step, :meth:`supervised` among them."""
        raise NotImplementedError(f"{type(self).__name__} has no terms")

    def supervised(self, clean: Images, outputs: list[Tensor] | None = None) -> Tensor:
        """nnU-Net's loss of clean images, this process's share.

        Args:
            outputs: The student's, where there are some already.
        """
        outputs = self.passes.student(clean.images) if outputs is None else outputs
        return self.passes.supervised(outputs, clean.target) / self.passes.processes.count

    def labelled(self, outputs: list[Tensor], labels: Tensor) -> Tensor:
        """nnU-Net's loss of images with labels that were made in the step, at all scales, this process's share.

        Args:
            labels: ``(B, *S)`` int64, negative = ignored. No gradient flows into them.
        """
        target = [resize_labels(labels, output.shape[2:]).unsqueeze(1) for output in outputs]
        of_nnunet = target if self.passes.deep_supervision else target[0]
        return self.passes.supervised(outputs, of_nnunet, of_clean=False) / self.passes.processes.count

    def ramp(self, moment: Moment) -> float:
        """What part of their weight the method's terms have."""
        return ramp(moment, self.settings.ramp_up)


class SemiSupervisedSettings(ComparisonSettings):
    """The keys of a method that knows clean and unlabeled images, and takes noisy ones for unlabeled."""

    noisy_labels: str = one_of("ignore", names=("ignore", "face"))
    """What becomes of noisy labels. `ignore`: noisy cases count as unlabeled. `face`: they are learned as they are."""


class SemiSupervised(Comparison):
    """The base of methods that read clean labels alone, if the settings do not say otherwise."""

    Settings: ClassVar[type[TrainingSettings]] = SemiSupervisedSettings
    quantities: ClassVar[Mapping[str, str]] = {**OF_CLEAN, "noisy": "noisy labels at face value"}

    @classmethod
    def labels_read(cls, settings: Any) -> tuple[str, ...]:
        """Those of the card, and the noisy ones where they are to be learned as they are."""
        return (*cls.card.labels, "noisy") if settings.noisy_labels == "face" else cls.card.labels

    def face_value(self, imperfect: ImperfectImages, outputs: list[Tensor]) -> dict[str, Tensor]:
        """nnU-Net's loss of noisy labels as they are, by its name; nothing where they are ignored.

        Args:
            outputs: The student's for the imperfect images.
        """
        if self.settings.noisy_labels == "ignore" or self.task.noisy == 0:
            return {}
        loss = self.passes.supervised(outputs, imperfect.target, of_clean=False)
        return {"noisy": loss / self.passes.processes.count}


def ramp(moment: Moment, share: float) -> float:
    """What part of its weight a term has that rises over a share of the stage: exp(-5 (1 - t)^2), t from 0 to 1."""
    return ramp_up(moment.now, round(share * moment.all))
