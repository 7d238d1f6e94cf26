"""The audit of all noisy training cases of a fold, from a trained checkpoint to the files; and what to label next."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Any

from dataset_conversion.raw.dataset import read_raw_dataset
from nnunetv2_mlbseg.audit.every_case import Audits
from nnunetv2_mlbseg.audit.images import Images
from nnunetv2_mlbseg.audit.label_files import given_labels
from nnunetv2_mlbseg.audit.other_labels import other_folders
from nnunetv2_mlbseg.audit.prospect import Prospect, RightLabels, prospect, refuse_corrections
from nnunetv2_mlbseg.audit.report import REPORT, write_report
from nnunetv2_mlbseg.audit.request import PROPOSALS, AuditRequest
from nnunetv2_mlbseg.audit.tables import SUMMARY, write_tables
from nnunetv2_mlbseg.audit.to_label import cases_to_label, check_choice
from nnunetv2_mlbseg.audit.truth import measuring
from nnunetv2_mlbseg.training.restored import TrainedFold, restored
from noise_synthesis.safe_io.files import write_json
from noise_synthesis.safe_io.output_folder import complete_folder


def audit_fold(request: AuditRequest) -> dict[str, Any]:
    """Audit every noisy training case of a fold and write its folders, which appear when they are complete.

    Asked for cases to label, it also chooses among the unlabeled ones; without a noisy case it does that alone.

    Returns:
        The content of ``audit.json``.

    Raises:
        InputError: see :meth:`AuditRequest.check_targets`, :meth:`FoldPlace.read`, :func:`restored`,
            :func:`given_labels`, :class:`Images`, :class:`LabelFolder` and :func:`check_choice`; or, once ``out``
            is complete, :func:`refuse_corrections`.
    """
    request.check_targets()
    found = request.place.read(request.device)
    other = None if request.compare_with is None else (request.compare_with, request.compare_with.read(request.device))
    with ExitStack() as stack:
        fold = stack.enter_context(restored(found, request.place.folder, request.device))
        if request.to_label:
            check_choice(fold)
        if request.chooses_alone(fold.roles):
            return choose_alone(request, fold)
        dataset = read_raw_dataset(request.raw)
        labels = given_labels(fold, dataset)
        images = Images.of(dataset, labels.format, request.channel)
        images.check(fold.roles.noisy)
        others = other_folders(fold, request.raw)
        audits = Audits(fold, labels, others, images, request.thresholds, request.progress)
        truth = stack.enter_context(measuring(fold, labels, request.raw, other)) if request.measure else None
        proposals = None
        if request.corrected is not None:
            proposals = stack.enter_context(complete_folder(request.corrected, PROPOSALS, request.force))
        with complete_folder(request.out, SUMMARY, request.force) as folder:
            right = RightLabels.of(audits.of(fold.unseen, weighed=False))
            judged = partial(right.judged, correct_anyway=request.correct_anyway)
            cases, pictures, sources = audits.write(folder, proposals, truth, judged)
            expected = prospect(cases, right, audits.not_judged)
            about = {**describe(request, audits, expected), "sources": sources}
            if truth is not None:
                about["measured"] = truth.summary(map(judged, audits.of(fold.roles.clean, weighed=False)))
            about |= to_label(request, fold)
            write_report(folder / REPORT, about, cases, pictures)
            write_tables(folder, about, cases)
        if request.corrected is not None and proposals is not None:
            if not request.correct_anyway:
                refuse_corrections(expected, request.corrected)
            changes = {case["case"]: case["corrected_mm3"] for case in cases}
            write_json(proposals / PROPOSALS, {**about, "corrected_mm3": changes})
    return {**about, "cases": cases}


def choose_alone(request: AuditRequest, fold: TrainedFold) -> dict[str, Any]:
    """Choose cases to label where no label is noisy: tables without cases, and no report."""
    with complete_folder(request.out, SUMMARY, request.force) as folder:
        about = {**vars(request.place), "epoch": fold.epoch, **to_label(request, fold)}
        write_tables(folder, about, [])
    return {**about, "cases": []}


def to_label(request: AuditRequest, fold: TrainedFold) -> dict[str, Any]:
    """The entry ``to_label`` of the JSON file, if it is asked for."""
    return {"to_label": cases_to_label(fold, request.to_label, request.progress)} if request.to_label else {}


def describe(request: AuditRequest, audits: Audits, expected: Prospect) -> dict[str, Any]:
    """What was audited and how, for the JSON file."""
    fold, weighing = audits.fold, audits.weighing
    return {
        **vars(request.place),
        "epoch": fold.epoch,
        "classes": audits.class_names,
        "structures": {name: list(own) for name, own in audits.groups.structures.values.items()},
        "slice_axis": "zyx"[fold.slice_axis],
        "settings": vars(request.thresholds),
        "witnesses": audits.witnesses.as_dict(audits.groups),
        "weights": {
            "weighting": weighing.name,
            "normalization": weighing.normalization,
            "none_because": weighing.none_because,
        },
        "corrections": expected.as_dict(),
    }
