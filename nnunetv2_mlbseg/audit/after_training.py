"""The audit that a training makes of its own labels when it is done (``audit`` in the configuration)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunetv2.paths import nnUNet_raw

from nnunetv2_mlbseg.audit.fold import audit_fold, given_labels
from nnunetv2_mlbseg.audit.images import Images
from nnunetv2_mlbseg.audit.one_case import Settings
from nnunetv2_mlbseg.audit.tables import SUMMARY
from nnunetv2_mlbseg.audit.trained_fold import TrainedFold
from nnunetv2_mlbseg.runtime import random_state
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.output_folder import check_replaceable

if TYPE_CHECKING:
    from nnunetv2_mlbseg.training.trainer import nnUNetTrainerMLBSeg

FOLDER = "audit"


def check_before_training(trainer: nnUNetTrainerMLBSeg) -> None:
    """Refuse a training whose audit would fail in the end.

    Raises:
        InputError: raw labels or images are missing, there is nothing to audit, or no checkpoint will be written.
        NotImplementedError: several processes share the training.
    """
    if trainer.processes.count > 1:
        raise NotImplementedError(
            f"audit is true with {trainer.processes.count} processes; set it to false and run mlbseg audit afterwards"
        )
    if trainer.disable_checkpointing:
        raise InputError("audit is true, but no checkpoint will be written, and the audit reads it")
    raw = raw_folder(trainer)
    labels = given_labels(trainer, raw)
    Images(raw, labels.ending).check(trainer.roles.noisy)
    check_replaceable(Path(trainer.output_folder) / FOLDER, SUMMARY, True)


def raw_folder(trainer: nnUNetTrainerMLBSeg) -> Path:
    """The raw dataset of a training, whose labels the audit reads.

    Raises:
        InputError: it is not there.
    """
    name = trainer.plans_manager.dataset_name
    if not nnUNet_raw.is_set():
        raise InputError(f"audit is true, but nnUNet_raw is not set, expected the folder that holds {name}")
    folder = Path(str(nnUNet_raw)) / name
    if not folder.is_dir():
        raise InputError(
            f"audit is true, but {folder} does not exist, expected the raw dataset with the labels to audit"
        )
    return folder


def audit_training(trainer: nnUNetTrainerMLBSeg) -> dict[str, Any]:
    """Audit the noisy labels of a finished training into the folder ``audit`` of its fold; an earlier one is replaced.

    Returns:
        The content of ``audit.json``.
    """
    fold = TrainedFold(
        trainer.plans_manager.dataset_name,
        type(trainer).__name__,
        trainer.plans_manager.plans_name,
        trainer.configuration_name,
        str(trainer.fold),
    )
    out = Path(trainer.output_folder) / FOLDER
    with random_state.preserved():
        return audit_fold(fold, raw_folder(trainer), out, settings=Settings(), device=trainer.device, force=True)
