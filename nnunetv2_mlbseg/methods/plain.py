"""Plain training: nnU-Net's own, with the labels that are chosen, for as long as the method would train."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.cases.training_cases import ROLES, ROLES_OF, TRUE, describe
from nnunetv2_mlbseg.maths.labels import resize_labels
from nnunetv2_mlbseg.maths.robust_losses import ROBUST
from nnunetv2_mlbseg.methods.mlbseg.quantities import LOGGED
from nnunetv2_mlbseg.methods.mlbseg.settings import OF_NNUNET, MLBSegSettings
from nnunetv2_mlbseg.methods.mlbseg.stages import imperfect_draw
from nnunetv2_mlbseg.methods.shared.scales import over_scales
from nnunetv2_mlbseg.progress.epoch_log import Quantities
from nnunetv2_mlbseg.settings.training import TrainingSettings
from nnunetv2_mlbseg.training.batch import Batch
from nnunetv2_mlbseg.training.card import Card
from nnunetv2_mlbseg.training.method import LabelWeighing, Method, Moment, Terms
from nnunetv2_mlbseg.training.stages import Draw, Stage

NAME = "plain training"
NNUNET = "Isensee et al., Nature Methods 2021"
CLEAN = Card("nnU-Net's own training on the clean cases", ROLES_OF["clean"], ROLES_OF["clean"], 1, NNUNET)
GIVEN = Card("nnU-Net's own training, noisy labels as they are", ROLES_OF["given"], ROLES_OF["given"], 1, NNUNET)
UPPER_BOUND = Card("nnU-Net's own training with the true labels of a study", ("true",), ROLES, 1, NNUNET)


class Plain(Method):
    """All cases in one loader, every label at face value: ``training_labels`` clean, given or true.

    nnU-Net's own step trains; after ``warmup_epochs`` another loss does, if ``noisy_loss`` names one. From the start
    most such losses never find a small structure: to call every pixel background costs them little.
    """

    Settings: ClassVar[type[TrainingSettings]] = MLBSegSettings
    needs_imperfect: ClassVar[bool] = False
    takes_regions: ClassVar[bool] = True

    @classmethod
    def logged(cls) -> Quantities:
        """The names that MLB-Seg has, so that the logs of both can be read alike."""
        return LOGGED

    @classmethod
    def about(cls, settings: Any) -> dict[str, Any]:
        """As MLB-Seg has it."""
        return {"views": settings.all_views}

    @classmethod
    def roles(cls, settings: Any) -> tuple[str, ...]:
        """Those whose labels are taken at face value."""
        return ROLES_OF[settings.training_labels]

    @classmethod
    def cases_line(cls, settings: Any, roles: FoldRoles) -> str:
        """Who trains, and who is left out."""
        return describe(roles, settings.training_labels)

    @classmethod
    def stages(cls, settings: Any, plan_batch_size: int, roles: FoldRoles) -> tuple[Stage, ...]:
        """One loader throughout; its passes are counted as the method would, so that both train equally long."""
        main = Draw(cls.roles(settings), settings.warmup_batch_size or plan_batch_size, "warmup_batch_size")
        clean, pairs = Draw(("clean",), main.images, main.key), imperfect_draw(settings, plan_batch_size)
        paces = (clean, pairs if roles.imperfect else clean)
        true, robust = settings.training_labels == TRUE, settings.noisy_loss != OF_NNUNET
        begins = Stage(NAME, settings.warmup_epochs, main, paced_by=paces[0], true_labels=true)
        return begins, replace(begins, epochs=settings.epochs, paced_by=paces[1], by_method=robust)

    def terms(self, batch: Batch, moment: Moment) -> Terms:
        """A robust loss of all labels, at all scales, in the place of nnU-Net's (``noisy_loss``).

        Of regions the mean of what it is for each.
        """
        passes, robust, groups = self.passes, ROBUST[self.settings.noisy_loss], self.passes.space.groups
        labels = passes.space.labels(batch.clean.target, self.task.ignore_label)

        def at(output: Tensor) -> Tensor:
            seen = resize_labels(labels, output.shape[2:])
            return torch.stack([robust(output[g::groups], seen[g::groups], passes.total) for g in range(groups)]).mean()

        return Terms({"plain": over_scales(passes, passes.student(batch.clean.images), at)})

    def weighing(self) -> LabelWeighing:
        """None."""
        kind = self.settings.training_labels
        why = f"training_labels is {kind}, plain training without weights"
        return LabelWeighing(
            name=self.settings.weighting,
            normalization=self.settings.weight_normalization,
            by_depth=self.settings.confusion_by_depth,
            none_because=why,
        )
