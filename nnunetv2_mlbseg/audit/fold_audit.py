"""The audit of all noisy training cases of a fold, from a trained checkpoint to the files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from nnunetv2_mlbseg.audit.case_audit import CaseAudit, Settings, Witnesses, audit_case
from nnunetv2_mlbseg.audit.given_labels import READERS, LabelFolder, labels_of
from nnunetv2_mlbseg.audit.images import Images
from nnunetv2_mlbseg.audit.maps import write_maps, write_proposal
from nnunetv2_mlbseg.audit.measuring import class_values, measuring
from nnunetv2_mlbseg.audit.opinion import NetworkOpinion
from nnunetv2_mlbseg.audit.report import REPORT, bytes_per_case, write_report
from nnunetv2_mlbseg.audit.source import TrainedFold
from nnunetv2_mlbseg.audit.tables import SUMMARY, ranked, write_tables
from nnunetv2_mlbseg.audit.thumbnails import MOST_CLASSES, thumbnails
from nnunetv2_mlbseg.audit.weight_maps import weighing, without_maps
from nnunetv2_mlbseg.weight_measurement import restored_trainer
from noise_synthesis.errors import InputError
from noise_synthesis.files import write_json
from noise_synthesis.output_folder import check_replaceable, complete_folder

if TYPE_CHECKING:
    from nnunetv2_mlbseg.trainer import nnUNetTrainerMLBSeg

PROPOSALS = "proposals.json"
Progress = Callable[[Sequence[str]], Iterable[str]]


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
    force: bool = False,
    progress: Progress = iter,
) -> dict[str, Any]:
    """Audit every noisy training case of a fold and write ``out``, which appears when it is complete.

    Args:
        raw: The raw dataset, ``nnUNet_raw/DatasetXXX_NAME``; its labels are read only.
        corrected: Folder for the corrected labels; None: none are written.
        measure: Compare with the true labels in ``labelsTr_true``, for studies; the audit itself never reads them.
        compare_with: With ``measure``: another training, of none of the audited cases, whose network is judged as well.
        force: Replace ``out`` and ``corrected`` if an audit wrote them.

    Returns:
        The content of ``audit.json``.

    Raises:
        InputError: see :class:`TrainedFold`, :class:`LabelFolder` and
            :func:`~nnunetv2_mlbseg.weight_measurement.restored_trainer`; a folder exists; the fold has no noisy case.
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
        folders = [stack.enter_context(complete_folder(target, marker, force)) for target, marker in targets]
        names = class_names(trainer)
        rows, pictures = [], {}
        allowed, axis = bytes_per_case(len(trainer.roles.noisy)), trainer.plans_manager.transpose_forward[0]
        for audited in audits(trainer, labels, trainer.roles.noisy, settings, progress):
            write_maps(audited, folders[0], labels.ending)
            if corrected:
                write_proposal(audited, folders[1], labels.ending)
            if truth is not None:
                truth.add_(audited)
            rows.append(audited.numbers(names))
            pictures[audited.case] = thumbnails(audited, images.read(audited), axis, allowed)
        about = describe(fold, found["current_epoch"], trainer, settings, names)
        if truth is not None:
            for audited in audits(trainer, labels, trainer.roles.clean, settings, progress):
                truth.measurement.add_right_(audited)
            about["measured"] = truth.measurement.summary()
        cases = ranked(rows)
        write_report(folders[0] / REPORT, about, cases, pictures)
        write_tables(folders[0], about, cases)
        if corrected:
            write_json(
                folders[1] / PROPOSALS, {**about, "corrected_mm3": {c["case"]: c["corrected_mm3"] for c in cases}}
            )
    return {**about, "cases": cases}


def check_place(target: Path, raw: Path) -> None:
    """Refuse to write where a raw dataset's own files lie."""
    place, dataset = target.resolve(), raw.resolve()
    if place == dataset or dataset in place.parents or place in dataset.parents:
        raise InputError(f"{target}: lies in, or holds, the raw dataset {raw}, which stays as it is; choose another")


def given_labels(trainer: nnUNetTrainerMLBSeg, raw: Path) -> LabelFolder:
    """The labels of the fold's noisy cases, all of them there.

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
    folder.check(cases, "noisy")
    return folder


def class_names(trainer: nnUNetTrainerMLBSeg) -> dict[int, str]:
    """Names by value, as in dataset.json."""
    names = {int(value): name for name, value in class_values(trainer.dataset_json["labels"]).items()}
    return dict(sorted(names.items()))


def witnesses_of(trainer: nnUNetTrainerMLBSeg) -> Witnesses:
    """What the training learned about the labels."""
    record = trainer.bootstrap_step.disputes
    moved = None if record is None else type(record)(**{name: table.cpu() for name, table in record.state().items()})
    return Witnesses(moved)


def audits(
    trainer: nnUNetTrainerMLBSeg, labels: LabelFolder, cases: Sequence[str], settings: Settings, progress: Progress
) -> Iterator[CaseAudit]:
    """Audit one case after the other."""
    axis = trainer.plans_manager.transpose_forward[0]
    witnesses = witnesses_of(trainer)
    with weighing(trainer, witnesses.record) as weigh, NetworkOpinion.of(trainer) as opinion:
        for case in progress(cases):
            found = opinion.of_case(case)
            label = labels.read(case, found.network.shape[1:])
            weights = None if weigh is None else weigh(case, found.network, label.classes)
            yield audit_case(case, found, label, witnesses, settings, axis, weights)


def describe(
    fold: TrainedFold, epoch: int, trainer: nnUNetTrainerMLBSeg, settings: Settings, names: dict[int, str]
) -> dict[str, Any]:
    """What was audited and how, for the JSON file."""
    witnesses = witnesses_of(trainer).as_dict()
    return {
        **vars(fold),
        "epoch": epoch,
        "classes": names,
        "slice_axis": "zyx"[trainer.plans_manager.transpose_forward[0]],
        "settings": vars(settings),
        "witnesses": witnesses,
        "weights": {
            "weighting": trainer.config.weighting,
            "normalization": trainer.config.weight_normalization,
            "none_because": without_maps(trainer),
        },
    }
