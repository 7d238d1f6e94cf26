"""Views, pseudo labels and weights of a batch (Eq. 3-8, 10): what is known of it before anything is learned from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.class_shares import ShareRecord, aligned, followed
from nnunetv2_mlbseg.maths.labels import (
    IGNORE,
    ImperfectLabels,
    labels_that_count,
)
from nnunetv2_mlbseg.maths.pseudo_labels import ensemble_of_views, pseudo_labels
from nnunetv2_mlbseg.maths.records import Record
from nnunetv2_mlbseg.maths.tangents.forward import displaced, unit_direction
from nnunetv2_mlbseg.maths.views import Views, draw_views
from nnunetv2_mlbseg.maths.weighting.depth import depth_levels, is_flat
from nnunetv2_mlbseg.maths.weighting.disputes import DisputeRecord
from nnunetv2_mlbseg.maths.weighting.meta import class_derivatives
from nnunetv2_mlbseg.maths.weighting.seen import Seen
from nnunetv2_mlbseg.maths.weighting.strategies import Weighting
from nnunetv2_mlbseg.methods.mlbseg.memory import Memory, with_sources
from nnunetv2_mlbseg.methods.mlbseg.settings import MLBSegSettings
from nnunetv2_mlbseg.methods.mlbseg.terms import consistency_terms, lessen_generated
from nnunetv2_mlbseg.methods.mlbseg.weighed import WeighedBatch
from nnunetv2_mlbseg.training.batch import Batch, Images, ImperfectImages
from nnunetv2_mlbseg.training.descent import Gradient
from nnunetv2_mlbseg.training.passes import Passes
from nnunetv2_mlbseg.training.tangent_pass import TangentPass
from nnunetv2_mlbseg.training.task import Task


@dataclass(frozen=True)
class Weighing:
    """How batches are weighed. Leaves both networks as they are; the memory is handed in and out."""

    settings: MLBSegSettings
    task: Task
    passes: Passes
    weighting: Weighting[Any]

    def __call__(self, batch: Batch, memory: Memory, least: float) -> WeighedBatch:
        """Weigh a batch.

        Args:
            least: The factor that images without a label of their own have in Eq. 9, or more.
        """
        assert batch.imperfect is not None, "a batch of the warm-up has nothing to weigh"
        views, shown = self._in_views(batch.imperfect)
        clean_loss, clean_gradient = self.clean_gradient(batch.clean)
        teacher = self._teacher(shown)
        student = self._student(clean_gradient, shown, teacher, views, batch.clean)
        ensemble = ensemble_of_views(
            student.logits[0].softmax(dim=1) if self._by_student else self._known(teacher), views
        )
        ensemble, shares = self._aligned(ensemble, batch, memory)
        record = memory.disputes or self.begin()
        imperfect = self._imperfect(batch.imperfect, views, record)
        seen = self._seen(imperfect, ensemble, views, student)
        record = self.weighting.learned(seen, record, self.passes.total)
        labels = self.weighting.weigh(seen, record, self.passes.total)
        if least != 1:
            labels = lessen_generated(labels, imperfect.generated, self.weight_of_generated(memory, least))
        networks = (student.outputs, student.logits, teacher)
        clean = (clean_loss, clean_gradient)
        derivatives = student.tangents[0] if student.tangents else None
        return WeighedBatch(
            views, shown, *networks, labels, imperfect.generated, Memory(record, shares), *clean, derivatives
        )

    def weight_of_generated(self, memory: Memory, least: float) -> Tensor:
        """The factor of images without a label of their own in Eq. 9, on the device: ``least`` or more."""
        if memory.shares is None or not self.settings.align_shares:
            return torch.full((), least, device=self.passes.device)
        return memory.shares.weight(least)

    def clean_gradient(self, clean: Images) -> tuple[Tensor, Gradient]:
        """Loss of the clean batch (Eq. 5) by ``clean_loss``, and its gradient; exact where it weighs single pixels."""
        return self.passes.clean_gradient(clean, self.settings.clean_loss, exact=self.weighting.weighs_by_tangents)

    def consistency(self, probabilities: Tensor, teacher: Tensor | None, views: Views) -> dict[str, Tensor]:
        """Eq. 11 and Eq. 13, weighted, where they have a weight."""
        weights = {"views": self.settings.consistency_weight, "teacher": self.settings.teacher_weight}
        teacher = teacher if weights["teacher"] > 0 else None
        terms = consistency_terms(probabilities, teacher, views, weights["views"] > 0, self.passes.total)
        return {name: weights[name] * term for name, term in terms.items()}

    @property
    def remembers(self) -> bool:
        """Whether the weighting goes by what it has learned of earlier batches."""
        return bool(self.weighting.begin(1).names())

    def begin(self) -> Record:
        """What the weighting remembers before the first batch."""
        cases = self.task.noisy * self.task.kinds if self.settings.confusion_by_case else 0
        of_labels = self.task.classes, cases
        record: Record = self.weighting.begin(*of_labels, self.passes.device, self.passes.space.groups)
        return with_sources(record, self.task.sources)

    @property
    def _by_student(self) -> bool:
        return self.settings.pseudo_label_network == "student"

    @staticmethod
    def _known(teacher: Tensor | None) -> Tensor:
        assert teacher is not None, "the teacher labels images, so its answer was asked for"
        return teacher

    def _in_views(self, imperfect: ImperfectImages) -> tuple[Views, Tensor]:
        settings, passes, images = self.settings, self.passes, imperfect.images
        views = draw_views(
            settings.shown_views,
            passes.images or images.shape[0],
            images.ndim - 2,
            passes.generators.on_host("views"),
            count=settings.drawn_views,
            zoom_in=settings.zoom_in,
            zoom_out=settings.zoom_out,
            flat=is_flat(images.shape[2:]),
            flip_axes=self.task.mirror_axes,
            device=passes.device,
        )
        rows = passes.share_of_images()
        views = views if rows is None else views.rows(rows)
        return views, views.apply(images)

    def _teacher(self, shown: Tensor) -> Tensor | None:
        """The teacher's answer to the disturbed views (Eq. 12); None where nothing needs it."""
        if self.settings.teacher_weight == 0 and self._by_student:
            return None
        return self.passes.teacher(shown, self.settings.teacher_noise)

    def _student(
        self, clean_gradient: Gradient, shown: Tensor, teacher: Tensor | None, views: Views, clean: Images
    ) -> TangentPass:
        """The student's outputs with their graph, if there are any yet, its logits, and derivatives, if needed.

        Of all shown images at every scale; or, where pixels share their weights, of the images as they are at the
        finest one. The sums of their derivatives over some batches say the same as those of all views would.
        """
        if not self.weighting.needs_tangents:
            outputs = self.passes.student_in_parts(shown)  # one forward pass serves weighing and training
            return TangentPass(outputs, [output.detach() for output in outputs], [])
        direction = self._direction(clean_gradient, shown, teacher, views, clean)
        exact = self.weighting.weighs_by_tangents
        scales, first = (None, None) if exact else (1, len(shown) // len(views))
        found = self.passes.with_tangents(shown, direction, class_derivatives, scales, first, exact)
        groups = self.passes.space.groups
        if self._by_student and len(found.logits[0]) < groups * len(shown):  # who labels them looks at all views
            outputs = self.passes.student_in_parts(shown, found.logits)
            return TangentPass(outputs, [output.detach() for output in outputs], found.tangents)
        return found

    def _direction(
        self, clean_gradient: Gradient, shown: Tensor, teacher: Tensor | None, views: Views, clean: Images
    ) -> Gradient:
        """Where the tangents point: the clean gradient, at theta or after the virtual step of the consistency terms."""
        if not self.settings.virtual_consistency:
            return unit_direction(clean_gradient)
        terms = self.consistency(self.passes.student_in_parts(shown)[0].softmax(dim=1), teacher, views)
        if not terms:
            return unit_direction(clean_gradient)
        descent = self.passes.descent
        total = self.passes.processes.count * torch.stack([term.float() for term in terms.values()]).sum()
        step = descent.unscaled(self.passes.gradient(total))
        with displaced(self.passes.student_network, step, descent.learning_rate):
            return unit_direction(self.clean_gradient(clean)[1])

    def _aligned(self, ensemble: Tensor, batch: Batch, memory: Memory) -> tuple[Tensor, ShareRecord | None]:
        """The ensemble with unlabeled images held to the clean class shares, and the record with this batch in it."""
        if not self.settings.align_shares:
            return ensemble, None
        assert batch.imperfect is not None
        space, generated = self.passes.space, self.passes.space.of_images(batch.imperfect.generated)
        record = memory.shares or ShareRecord.empty(ensemble.shape[1], self.passes.device, space.groups)
        ensemble = aligned(ensemble, generated, record)
        seen = torch.where(ensemble.sum(1) > 0, pseudo_labels(ensemble), IGNORE)
        clean = space.labels(batch.clean.target, self.task.ignore_label)
        return ensemble, followed(record, clean, seen, generated, self.passes.total, self.passes.unshown)

    def _imperfect(self, images: ImperfectImages, views: Views, record: Record) -> ImperfectLabels:
        """The imperfect labels in every view; a pixel keeps the depth level that it has in the image."""
        if self.task.kinds == 1 or not isinstance(record, DisputeRecord):
            return self._of_kind(0, images, views)
        return record.united([self._of_kind(kind, images, views) for kind in range(self.task.kinds)])

    def _of_kind(self, kind: int, images: ImperfectImages, views: Views) -> ImperfectLabels:
        space, count = self.passes.space, len(views)
        labels = space.labels(images.target, self.task.ignore_label, kind)
        by_depth = self.settings.confusion_by_depth and self.remembers
        levels = depth_levels(labels, is_flat(labels.shape[1:])) if by_depth else torch.zeros_like(labels)
        generated, case = (space.of_images(each) for each in (images.generated, images.case))
        if kind:  # of a case that has no such label nothing is counted
            case = torch.where((case >= 0) & (labels >= 0).flatten(1).any(1), case + kind * self.task.noisy, -1)
        numbers = generated.repeat(count), case.repeat(count), space.groups
        return ImperfectLabels(views.apply_labels(labels), views.apply_labels(levels), *numbers)

    def _seen(
        self,
        imperfect: ImperfectLabels,
        ensemble: Tensor,
        views: Views,
        student: TangentPass,
    ) -> Seen:
        pseudo = views.apply_labels(pseudo_labels(ensemble))
        given, pseudo = labels_that_count(imperfect.classes, pseudo, self.settings.weighted_labels)
        return Seen(
            imperfect=replace(imperfect, classes=given),
            pseudo=pseudo,
            ensemble=views.apply(ensemble),
            sizes=tuple(tuple(z.shape[2:]) for z in student.logits),
            derivatives=tuple(student.tangents) or None,
        )
