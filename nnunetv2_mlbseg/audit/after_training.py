"""The audit that a training makes of its own labels when it is done (``audit`` in the settings)."""

from __future__ import annotations

from pathlib import Path

from nnunetv2.paths import nnUNet_raw

from dataset_conversion.raw.dataset import read_raw_dataset
from nnunetv2_mlbseg.audit.fold import audit_fold
from nnunetv2_mlbseg.audit.fold_place import FoldPlace
from nnunetv2_mlbseg.audit.images import Images
from nnunetv2_mlbseg.audit.label_files import given_labels
from nnunetv2_mlbseg.audit.request import AuditRequest
from nnunetv2_mlbseg.audit.tables import SUMMARY
from nnunetv2_mlbseg.runtime import random_state
from nnunetv2_mlbseg.runtime.errors import UnsupportedError
from nnunetv2_mlbseg.training.restored import TrainedFold
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.output_folder import check_replaceable

FOLDER = "audit"


def check_before_training(fold: TrainedFold, *, processes: int, writes_checkpoints: bool) -> None:
    """Refuse a training whose audit would fail in the end.

    Args:
        fold: The training as it begins.
        processes: How many share it.

    Raises:
        InputError: raw labels or images are missing, there is nothing to audit, or no checkpoint will be written.
        UnsupportedError: several processes share the training.
    """
    if processes > 1:
        raise UnsupportedError(
            f"audit is true with {processes} processes; set it to false and run mlbseg audit afterwards"
        )
    if not writes_checkpoints:
        raise InputError("audit is true, but no checkpoint will be written, and the audit reads it")
    dataset = read_raw_dataset(raw_folder(fold.plans.dataset_name))
    Images.of(dataset, given_labels(fold, dataset).format).check(fold.roles.noisy)
    check_replaceable(fold.folder / FOLDER, SUMMARY, True)


def raw_folder(name: str) -> Path:
    """The raw dataset of a training, whose labels the audit reads.

    Raises:
        InputError: it is not there.
    """
    if not nnUNet_raw.is_set():
        raise InputError(f"audit is true, but nnUNet_raw is not set, expected the folder that holds {name}")
    folder = Path(str(nnUNet_raw)) / name
    if not folder.is_dir():
        raise InputError(
            f"audit is true, but {folder} does not exist, expected the raw dataset with the labels to audit"
        )
    return folder


def audit_training(fold: TrainedFold) -> str:
    """Audit the noisy labels of a finished training into the folder ``audit`` of its fold; an earlier one is replaced.

    The audit reads the final checkpoint, so that ``mlbseg audit`` gives the same once more.

    Returns:
        A line for the log: the worst cases, and what to think of the corrections.
    """
    name = fold.plans.dataset_name
    place = FoldPlace(name, fold.trainer, fold.plans.plans_name, fold.configuration_name, str(fold.fold))
    out = fold.folder / FOLDER
    with random_state.preserved():
        audited = audit_fold(AuditRequest(place, raw_folder(name), out, fold.device, force=True))
    found = audited["cases"]
    worst = ", ".join(f"{case['case']} ({case['score']:.2f})" for case in found[:3])
    return f"Audit of {len(found)} noisy labels in {out}; worst: {worst}. {audited['corrections']['sentence']}"
