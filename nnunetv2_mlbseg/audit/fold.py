"""The audit of all noisy training cases of a fold, from a trained checkpoint to the files."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from nnunetv2_mlbseg.audit.every_case import Audits, Progress
from nnunetv2_mlbseg.audit.images import Images
from nnunetv2_mlbseg.audit.label_files import READERS, LabelFolder, labels_of
from nnunetv2_mlbseg.audit.one_case import Settings
from nnunetv2_mlbseg.audit.prospect import RightLabels, prospect, refuse_corrections, unseen_cases
from nnunetv2_mlbseg.audit.report import REPORT, write_report
from nnunetv2_mlbseg.audit.tables import SUMMARY, write_tables
from nnunetv2_mlbseg.audit.thumbnails import MOST_CLASSES
from nnunetv2_mlbseg.audit.trained_fold import TrainedFold
from nnunetv2_mlbseg.audit.truth import measuring
from nnunetv2_mlbseg.audit.weight_maps import without_maps
from nnunetv2_mlbseg.weight_quality.measure import restored_trainer
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import write_json
from noise_synthesis.safe_io.output_folder import check_replaceable, complete_folder

if TYPE_CHECKING:
    from nnunetv2_mlbseg.training.trainer import nnUNetTrainerMLBSeg

PROPOSALS = "proposals.json"


def audit_fold(
    fold: TrainedFold,
    raw: Path,
    out: Path,
    *,
    corrected: Path | None = None,
    settings: Settings,
    device: torch.device,
    measure: bool = False,
    compare_with: TrainedFold | None = None,
    correct_anyway: bool = False,
    force: bool = False,
    progress: Progress = iter,
) -> dict[str, Any]:
    """Audit every noisy training case of a fold and write ``out``, which appears when it is complete.

    Args:
        raw: The raw dataset, ``nnUNet_raw/DatasetXXX_NAME``; its labels are read only.
        corrected: Folder for the corrected labels; None: none are written.
        measure: Compare with the true labels in ``labelsTr_true``, for studies; the audit itself never reads them.
        compare_with: With ``measure``: another training, of none of the audited cases, whose network is judged as well.
        correct_anyway: Correct all labels, and write ``corrected`` also where corrections cannot be trusted.
        force: Replace ``out`` and ``corrected`` if an audit wrote them.

    Returns:
        The content of ``audit.json``.

    Raises:
        InputError: see :class:`TrainedFold`, :class:`LabelFolder` and
            :func:`restored_trainer`; a folder exists; the fold has no noisy case;
            or, once ``out`` is complete, see :func:`refuse_corrections`.
    """
    targets = [(out, SUMMARY), *([(corrected, PROPOSALS)] if corrected else [])]
    for target, marker in targets:
        check_place(target, raw)
        check_replaceable(target, marker, force)
    found = fold.read(device)
    other = None if compare_with is None else (compare_with, compare_with.read(device))
    with ExitStack() as stack:
        trainer = stack.enter_context(restored_trainer(found, fold.folder, device, needs_weights=False))
        labels = given_labels(trainer, raw)
        images = Images(raw, labels.ending)
        images.check(trainer.roles.noisy)
        truth = stack.enter_context(measuring(trainer, raw, other, device)) if measure else None
        proposals = stack.enter_context(complete_folder(corrected, PROPOSALS, force)) if corrected else None
        with complete_folder(out, SUMMARY, force) as folder:
            audits = Audits(trainer, labels, images, settings, progress)
            right = RightLabels.of(audits.of(unseen_cases(trainer), weighed=False))
            judge = partial(right.judged, correct_anyway=correct_anyway)
            cases, pictures = audits.write(folder, proposals, truth, judge)
            expected = prospect(cases, right)
            about = describe(fold, found["current_epoch"], audits) | {"corrections": expected.as_dict()}
            if truth is not None:
                about["measured"] = truth.summary(map(judge, audits.of(trainer.roles.clean, weighed=False)))
            write_report(folder / REPORT, about, cases, pictures)
            write_tables(folder, about, cases)
        if corrected and proposals:
            if not correct_anyway:
                refuse_corrections(expected, corrected)
            changes = {case["case"]: case["corrected_mm3"] for case in cases}
            write_json(proposals / PROPOSALS, {**about, "corrected_mm3": changes})
    return {**about, "cases": cases}


def check_place(target: Path, raw: Path) -> None:
    """Refuse to write where a raw dataset's own files lie."""
    place, dataset = target.resolve(), raw.resolve()
    if place == dataset or dataset in place.parents or place in dataset.parents:
        raise InputError(f"{target}: lies in, or holds, the raw dataset {raw}, which stays as it is; choose another")


def given_labels(trainer: nnUNetTrainerMLBSeg, raw: Path) -> LabelFolder:
    """The labels of the fold's noisy cases, all of them there, and of the validation cases.

    Raises:
        InputError: no noisy case, a reader whose axes are unknown, or a label is missing.
    """
    cases, classes = trainer.roles.noisy, len(trainer.label_manager.all_labels)
    if classes > MOST_CLASSES:
        raise InputError(f"{raw.name}: {classes} classes, expected at most {MOST_CLASSES}, background included")
    if not cases:
        raise InputError(f"{raw.name}: fold {trainer.fold} has no noisy training case, expected labels to audit")
    reader = trainer.plans_manager.image_reader_writer_class.__name__
    if reader not in READERS:
        raise InputError(f"{raw.name}: images are read by {reader}, expected {' or '.join(READERS)}")
    folder = labels_of(trainer, raw, "labelsTr")
    folder.check(cases, "noisy training")
    folder.check(unseen_cases(trainer), "validation")
    return folder


def describe(fold: TrainedFold, epoch: int, audits: Audits) -> dict[str, Any]:
    """What was audited and how, for the JSON file."""
    trainer = audits.trainer
    return {
        **vars(fold),
        "epoch": epoch,
        "classes": audits.class_names,
        "slice_axis": "zyx"[audits.axis],
        "settings": vars(audits.settings),
        "witnesses": audits.witnesses.as_dict(),
        "weights": {
            "weighting": trainer.config.weighting,
            "normalization": trainer.config.weight_normalization,
            "none_because": without_maps(trainer),
        },
    }
