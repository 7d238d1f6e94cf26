"""What an audit is asked to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from nnunetv2_mlbseg.audit.fold_place import FoldPlace
from nnunetv2_mlbseg.audit.one_case import Thresholds
from nnunetv2_mlbseg.audit.tables import SUMMARY
from nnunetv2_mlbseg.cases.roles import FoldRoles
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.output_folder import check_replaceable, overlap

PROPOSALS = "proposals.json"
"""Marks a folder of corrected labels, as :data:`~nnunetv2_mlbseg.audit.tables.SUMMARY` marks one of an audit."""

Progress = Callable[[Sequence[str]], Iterable[str]]
"""Passes the names of the cases on as they are worked on."""


@dataclass(frozen=True)
class AuditRequest:
    """The audit of every noisy training case of a fold.

    Attributes:
        place: The training.
        raw: The raw dataset, ``nnUNet_raw/DatasetXXX_NAME``; its labels are read only.
        out: The folder to write.
        device: Where the networks run.
        corrected: Folder for the corrected labels; None: none are written.
        measure: Compare with the true labels in ``labelsTr_true``, for studies; the audit itself never reads them.
        compare_with: With ``measure``: another training, of none of the audited cases, whose network is judged as well.
        channel: Of the images in the report, as nnU-Net numbers the files of a case.
        correct_anyway: Correct all labels, and write ``corrected`` also where corrections cannot be trusted.
        to_label: So many unlabeled cases are chosen to be labelled next; 0: none.
        force: Replace ``out`` and ``corrected`` if an audit wrote them.
    """

    place: FoldPlace
    raw: Path
    out: Path
    device: torch.device
    thresholds: Thresholds = field(default_factory=Thresholds)
    corrected: Path | None = None
    measure: bool = False
    compare_with: FoldPlace | None = None
    channel: int = 0
    correct_anyway: bool = False
    to_label: int = 0
    force: bool = False
    progress: Progress = iter

    def chooses_alone(self, roles: FoldRoles) -> bool:
        """Whether there is no label to audit, and nothing but cases to label is asked for."""
        return bool(self.to_label) and not (roles.noisy or self.corrected or self.measure)

    def check_targets(self) -> None:
        """Refuse to write where a raw dataset's own files lie, or over anything that no audit wrote.

        Raises:
            InputError: it names the folder.
        """
        for target, marker in [(self.out, SUMMARY), *([(self.corrected, PROPOSALS)] if self.corrected else [])]:
            if overlap(target, self.raw):
                raise InputError(
                    f"{target}: lies in, or holds, the raw dataset {self.raw}, which stays as it is; choose another"
                )
            check_replaceable(target, marker, self.force)
