"""The trainer of MLB-Seg, and the audit that it can make of its labels when it is done."""

from __future__ import annotations

from typing import ClassVar

from nnunetv2_mlbseg.audit import after_training
from nnunetv2_mlbseg.cases.training_cases import METHOD
from nnunetv2_mlbseg.methods.mlbseg.method import MLBSeg
from nnunetv2_mlbseg.methods.mlbseg.settings import MLBSegSettings
from nnunetv2_mlbseg.methods.plain import Plain
from nnunetv2_mlbseg.training.method import Method
from nnunetv2_mlbseg.training.restored import TrainedFold
from nnunetv2_mlbseg.training.trainer import nnUNetTrainerMethod


class nnUNetTrainerMLBSeg(nnUNetTrainerMethod):
    """MLB-Seg inside nnU-Net: warm-up on the clean cases, generated labels, bootstrapping (Eq. 1-13).

    Plans, preprocessing, augmentation, inference and folders are nnU-Net's. :class:`MLBSegSettings` holds every number.
    """

    method: ClassVar[type[Method]] = MLBSeg
    settings: MLBSegSettings

    @classmethod
    def method_of(cls, settings: MLBSegSettings) -> type[Method]:
        """MLB-Seg, unless labels are to be taken at face value."""
        return MLBSeg if settings.training_labels == METHOD else Plain

    def on_train_start(self) -> None:
        """The training's own start; a training whose audit would fail in the end is refused at once."""
        if not self.was_initialized:
            self.initialize()
        if self.settings.audit:
            after_training.check_before_training(
                TrainedFold.of(self), processes=self.processes.count, writes_checkpoints=not self.disable_checkpointing
            )
        super().on_train_start()

    def on_train_end(self) -> None:
        """The training's own end; then the audit of the noisy labels, if one is asked for."""
        super().on_train_end()
        if self.settings.audit:
            with self.stopping.request.at_once():  # the training itself is on disk
                self.print_to_log_file(after_training.audit_training(TrainedFold.of(self)))
