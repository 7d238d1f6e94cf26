"""Plain training: nnU-Net's own, with the labels that are chosen, for as long as the method would train."""

from __future__ import annotations

from typing import Any, ClassVar

from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.cases.training_cases import ROLES_OF, TRUE, describe
from nnunetv2_mlbseg.methods.mlbseg.quantities import LOGGED
from nnunetv2_mlbseg.methods.mlbseg.settings import MLBSegSettings
from nnunetv2_mlbseg.methods.mlbseg.stages import imperfect_images
from nnunetv2_mlbseg.progress.epoch_log import Quantities
from nnunetv2_mlbseg.settings.training import TrainingSettings
from nnunetv2_mlbseg.training.method import LabelWeighing, Method
from nnunetv2_mlbseg.training.stages import Draw, Stage

NAME = "plain training"


class Plain(Method):
    """All cases in one loader, every label at face value: ``training_labels`` clean, given or true."""

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
        clean, pairs = Draw(("clean",), main.images, main.key), imperfect_images(settings, plan_batch_size)
        paces = (clean, pairs if roles.imperfect else clean)
        lengths = (settings.warmup_epochs, settings.epochs)
        return tuple(
            Stage(NAME, epochs, main, paced_by=pace, true_labels=settings.training_labels == TRUE)
            for epochs, pace in zip(lengths, paces, strict=True)
        )

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
