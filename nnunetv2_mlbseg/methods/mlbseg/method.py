"""MLB-Seg as a method: its stages, and the loss terms of one bootstrapping iteration (Eq. 3-13)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nnunetv2_mlbseg.cases.former_labels import FormerPair
from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.cases.training_cases import ROLES, describe
from nnunetv2_mlbseg.maths.schedules import ramp_up
from nnunetv2_mlbseg.maths.weighting.face_value import FaceValue
from nnunetv2_mlbseg.maths.weighting.strategies import REMEMBERING, Weighting, make
from nnunetv2_mlbseg.methods.mlbseg.known import known_errors
from nnunetv2_mlbseg.methods.mlbseg.memory import Memory
from nnunetv2_mlbseg.methods.mlbseg.quantities import LOGGED, statistics, trouble
from nnunetv2_mlbseg.methods.mlbseg.settings import MLBSegSettings
from nnunetv2_mlbseg.methods.mlbseg.stages import imperfect_draw, warm_ups
from nnunetv2_mlbseg.methods.mlbseg.terms import bootstrap_loss, mixture_dice
from nnunetv2_mlbseg.methods.mlbseg.weighed import Lesson, WeighedBatch
from nnunetv2_mlbseg.methods.mlbseg.weighing import Weighing
from nnunetv2_mlbseg.methods.shared.strong_views import StrongViews, SureLabels
from nnunetv2_mlbseg.progress.epoch_log import Quantities
from nnunetv2_mlbseg.settings.training import TrainingSettings
from nnunetv2_mlbseg.training.batch import Batch, ImperfectImages
from nnunetv2_mlbseg.training.card import Card
from nnunetv2_mlbseg.training.method import LabelWeighing, Method, Moment, Terms
from nnunetv2_mlbseg.training.passes import Passes
from nnunetv2_mlbseg.training.stages import WARM_UP, Labelling, Stage, paired
from nnunetv2_mlbseg.training.task import Task

CERTAINTY = 0.95
"""Least probability of a label that counts in strong views (the code of Yang et al. 2023)."""


class MLBSeg(Method):
    """Learn, from the clean batch, how far to trust the imperfect and the pseudo label of every pixel."""

    Settings: ClassVar[type[TrainingSettings]] = MLBSegSettings
    takes_regions: ClassVar[bool] = True
    settings: MLBSegSettings
    card: ClassVar[Card] = Card(
        idea="learns from clean cases how far to trust each pixel's label",
        labels=("clean", "noisy"),
        images=ROLES,
        cost=7.4 / 3,  # with the default views; docs/performance.md
        citation="Wei et al., MICCAI 2023",
    )

    def __init__(self, settings: MLBSegSettings, task: Task, passes: Passes, heads: nn.ModuleDict):
        settings.check_mirrored(task.mirror_axes)
        super().__init__(settings, task, passes, heads)
        self.weighting: Weighting[Any] = make(
            settings.weighting, settings.weight_normalization, settings.tied_decay, settings.tied_strength
        )
        if passes.unshown is not None:
            self.weighting = FaceValue(self.weighting, passes.unshown)
        self.weigh = Weighing(settings, task, passes, self.weighting)
        passes.images_at_once = settings.images_at_once or self._at_once_by_default()
        # Made at once, so that every checkpoint has their states.
        passes.generators.on_host("views")
        passes.generators.on_device("noise"), passes.generators.on_device("strong views")
        self.memory = Memory()
        self._seen = Memory()

    def _at_once_by_default(self) -> int | None:
        """In 3D a GPU holds what nnU-Net plans, two patches in most plans, and not those of our views beside them."""
        return 1 if self.task.dims == 3 and self.passes.device.type == "cuda" else None

    @classmethod
    def logged(cls) -> Quantities:
        """Loss terms, weights and shares of pixels."""
        return LOGGED

    @classmethod
    def about(cls, settings: MLBSegSettings) -> dict[str, Any]:
        """The names of the views, in the order in which the log has their values."""
        return {"views": settings.all_views}

    @classmethod
    def cases_line(cls, settings: MLBSegSettings, roles: FoldRoles) -> str:
        """Who trains, with which labels."""
        return describe(roles, settings.training_labels)

    @classmethod
    def noisy_teach_unshown(cls, settings: MLBSegSettings) -> bool:
        """Yes, unless the noisy labels do not count."""
        counts = settings.weighted_labels != "pseudo" and settings.bootstrap_weight + settings.mixture_dice_weight > 0
        return counts and settings.epochs > 0

    @classmethod
    def stages(cls, settings: MLBSegSettings, plan_batch_size: int, roles: FoldRoles) -> tuple[Stage, ...]:
        """The warm-up; then bootstrapping, for which unlabeled cases get generated labels (Eq. 1)."""
        pairs = imperfect_draw(settings, plan_batch_size)
        labelling = Labelling(settings.pseudo_label_network, settings.mirror_generated, settings.align_shares)
        bootstrapping = paired(settings, plan_batch_size, pairs, "bootstrapping", labelling)
        further = bool(roles.further_of_noisy) and settings.weighting in REMEMBERING
        return (*warm_ups(settings, plan_batch_size, roles), replace(bootstrapping, further=further))

    def terms(self, batch: Batch, moment: Moment) -> Terms:
        """Eq. 9, 11, 13 and the Dice of the mixture; other gradients have begun already, of the clean batch (Eq. 5).

        In the warm-up the clean batch and strong views alone. One part after the other, so that each has its
        activations to itself.
        """
        assert batch.imperfect is not None, "where the method's terms train, pairs are drawn"
        if moment.stage == WARM_UP:
            value, gradient = self.passes.clean_gradient(batch.clean, "dice_ce")
            with torch.no_grad():
                logits = self.passes.student(batch.imperfect.images)[0]
            strong = self._of_strong_views(batch.imperfect, logits, moment)
            return Terms({"strong": strong}, gradient, {"warmup": value / self.passes.processes.count})
        lesson, begun = self._lesson(batch, moment)
        logits, terms = lesson.known[0], replace(begun, losses=self._losses(lesson))
        if self.settings.strong_weight == 0 or not self.task.unlabeled:
            return terms
        del lesson
        terms = terms.all_begun(self.passes)
        return replace(terms, losses={"strong": self._of_strong_views(batch.imperfect, logits, moment)})

    def _of_strong_views(self, imperfect: ImperfectImages, logits: Tensor, moment: Moment) -> Tensor:
        """Dice of strong views and labels that the student is sure of, by its logits of the images, which come first.

        Labels of noisy images do not count.
        """
        weight = ramp_up(moment.of_training, 1) * self.settings.strong_weight
        unshown, space = self.passes.unshown, self.passes.space

        def shown(of_all: Tensor) -> Tensor:
            return of_all if unshown is None else unshown.other_folded(of_all, space)

        sure = SureLabels.of(shown(logits[: len(imperfect.images) * space.groups]), CERTAINTY)
        sure = sure.of_images(imperfect.case < 0)
        return weight * StrongViews(self.passes).loss(imperfect.images, sure, shown)

    def _lesson(self, batch: Batch, moment: Moment) -> tuple[Lesson, Terms]:
        """What the training pass needs, so that nothing else lives through it; and all that it does not change."""
        weighed = self.weigh(batch, self.memory, self.least_of_generated(moment))
        self._seen, factor = weighed.memory, self.settings.supervised_weight
        supervised = {"supervised": factor * weighed.clean_loss / self.passes.processes.count}
        begun = weighed.clean_gradient
        for number, gradient in enumerate(begun):  # one after the other: no second copy of all
            begun[number] = None if gradient is None else gradient * factor
        return weighed.lesson(), Terms({}, begun, supervised, self._values(weighed, batch, moment))

    def _losses(self, lesson: Lesson) -> dict[str, Tensor]:
        settings, passes = self.settings, self.passes
        outputs = lesson.outputs or passes.student_in_parts(lesson.shown, lesson.known)
        probabilities = [output.softmax(dim=1) for output in outputs]  # once, for all terms
        bootstrap = bootstrap_loss(outputs, lesson.mixtures, passes.scale_factors, probabilities)
        losses = {"bootstrap": settings.bootstrap_weight * bootstrap}
        if settings.mixture_dice_weight > 0:
            groups, of_scales = passes.space.groups, passes.scale_factors
            dice = mixture_dice(probabilities, lesson.mixtures, of_scales, lesson.generated, passes.total, groups)
            losses["dice"] = settings.mixture_dice_weight * dice
        return losses | self.weigh.consistency(probabilities[0], lesson.teacher, lesson.views)

    def after_step(self) -> None:
        """Go on from the memory that has this batch in it."""
        self.memory = self.memory.followed_by(self._seen)

    @property
    def learns_from_former(self) -> bool:
        """Where the weighting remembers how labels err."""
        return self.weigh.remembers

    def know(self, pairs: Iterable[FormerPair]) -> None:
        """Count true and former labels, which tell how labels err before any batch does."""
        known = known_errors(pairs, self.task, self.settings.confusion_by_depth)
        if known.any() or self.memory.disputes is not None:
            self.memory = self.memory.knowing(known, self.weigh.begin)

    def least_of_generated(self, moment: Moment) -> float:
        """The factor of images without a label of their own in Eq. 9, or more; it rises from epoch to epoch."""
        return self.settings.generated_weight * ramp_up(moment.began, self.settings.generated_ramp_up)

    def epoch_line(self, moment: Moment) -> str:
        """How much generated labels count."""
        if moment.stage == WARM_UP:
            return ""
        least = self.least_of_generated(moment)
        more = " or more" if self.settings.align_shares and least < 1 else ""
        return f", weight of generated labels {least:.3g}{more}" if self.task.unlabeled else ""

    def state(self) -> dict[str, Any]:
        """The memory."""
        return self.memory.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Undo :meth:`state`."""
        self.memory = Memory.from_state(state, self.weighting, self.passes.device, self.task.sources)

    def weighing(self) -> LabelWeighing:
        """The weighting, and what it has learned."""
        settings, record = self.settings, self.memory.disputes
        if not self.weigh.remembers:
            record = self.weighting.begin(self.task.classes, groups=self.passes.space.groups)
        return LabelWeighing(
            name=settings.weighting,
            weighting=self.weighting,
            record=record,
            normalization=settings.weight_normalization,
            counted=settings.weighted_labels,
            by_depth=settings.confusion_by_depth,
            clean_loss=settings.clean_loss,
            none_because=self._no_maps(),
        )

    def _no_maps(self) -> str | None:
        if self.settings.weighting == "uniform":
            return "weighting is uniform: both labels count the same everywhere"
        if self.weigh.remembers and self.memory.disputes is None:
            return "the checkpoint was written before the first weights"
        return None

    def _values(self, weighed: WeighedBatch, batch: Batch, moment: Moment) -> dict[str, Tensor]:
        """For the log: numbers of the weights, and what went wrong; of several processes each counts for its part."""
        count, total = self.passes.processes.count, self.passes.total
        values = statistics(weighed.labels[0], len(weighed.views), total)
        clean = self.passes.space.labels(batch.clean.target, self.task.ignore_label)
        counted = total(trouble(weighed.labels[0], weighed.derivatives, clean))
        flags = {"no_weight": counted[0] == 0, "weight_overflow": counted[1] > 0, "no_foreground": counted[2] == 0}
        values |= {name: flag.float() / count for name, flag in flags.items()}
        if self.task.unlabeled:
            factor = self.weigh.weight_of_generated(weighed.memory, self.least_of_generated(moment))
            values["weight_generated"] = factor / count
        return values
