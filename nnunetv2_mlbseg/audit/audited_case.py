"""The files of one case of an audit that lies in a folder, for a viewer to show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset_conversion.raw.dataset import read_raw_dataset
from dataset_conversion.raw.formats import DatasetFormat, dataset_format
from dataset_conversion.raw.names import dataset_name
from dataset_conversion.supervision.files import name_some
from nnunetv2_mlbseg.audit.maps import NETWORK, SUSPICION
from nnunetv2_mlbseg.audit.request import PROPOSALS
from nnunetv2_mlbseg.audit.tables import SUMMARY
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import read_json
from noise_synthesis.safe_io.text import as_on_disk

VOLUMES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".hdr")
"""Endings of files that say where their voxels lie; what viewers of volumes draw in pictures has lost that."""


@dataclass(frozen=True)
class AuditedCase:
    """Where the files of an audited case lie.

    Attributes:
        images: A file per channel.
        proposal: The corrected label; None if its folder was not given.
        classes: Names by label value, background and the ignore label included.
        about: What to know about its correction, a line.
    """

    case: str
    format: DatasetFormat
    images: tuple[Path, ...]
    given: Path
    network: Path
    suspicion: Path
    proposal: Path | None
    classes: Mapping[int, str]
    about: str

    @property
    def begin(self) -> Path:
        """The label that a person begins to draw with."""
        return self.given if self.proposal is None else self.proposal

    @property
    def labels(self) -> dict[str, Path]:
        """All label files by what they are."""
        found = {"given label": self.given, "label of the network": self.network}
        return found if self.proposal is None else {**found, "corrected label": self.proposal}


def audited_case(raw: Path, audit: Path, case: str, corrected: Path | None) -> AuditedCase:
    """Find the files of a case.

    Args:
        raw: The raw dataset.
        audit: The folder of the audit, ``--out`` of then.
        corrected: The folder of the corrected labels, ``--write-corrected`` of then.

    Raises:
        InputError: there is no audit, it is of another dataset or without the case, the files are no volumes, or one
            is missing.
    """
    found = _read(audit / SUMMARY, raw, f"the folder of an audit; make it by mlbseg audit {raw.name} --out {audit}")
    rows = {row["case"]: row for row in found["cases"]}
    (case,) = as_on_disk([case], rows)
    if case not in rows:
        known = f"expected one of {name_some(rows)}" if rows else "it audited no label"
        raise InputError(f"{audit / SUMMARY}: has no case {case}, {known}; only noisy cases are audited")
    dataset = read_raw_dataset(raw)
    (files,) = (one for one in dataset.cases if one.name == case)
    format = dataset_format(dataset.description, dataset.examples)
    _refuse_pictures(files.label, format)
    name = f"{case}{format.ending}"
    if corrected is not None:
        _read(corrected / PROPOSALS, raw, "the folder that --write-corrected wrote")
    paths = [*files.images, files.label, audit / NETWORK / name, audit / SUSPICION / name]
    paths += [] if corrected is None else [corrected / name]
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path}: no such file, expected one for {case}, which the audit has")
    *images, given, network, suspicion = (path.absolute() for path in paths[: len(files.images) + 3])
    classes = {int(value): name for value, name in found["classes"].items()}
    if dataset.ignore_label is not None:
        classes[dataset.ignore_label] = "ignore"
    proposal = None if corrected is None else (corrected / name).absolute()
    about = _about(rows[case], found["corrections"], corrected)
    return AuditedCase(case, format, tuple(images), given, network, suspicion, proposal, classes, about)


def _read(path: Path, raw: Path, expected: str) -> dict[str, Any]:
    """A file of an audit of this dataset."""
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected {expected}")
    found: dict[str, Any] = read_json(path)
    if found["dataset"] != dataset_name(raw):
        raise InputError(f"{path}: written for {found['dataset']}, expected {dataset_name(raw)}")
    return found


def _refuse_pictures(label: Path, format: DatasetFormat) -> None:
    if format.ending.lower() not in VOLUMES:
        raise InputError(
            f"{label}: a file {format.ending}, expected a volume ({', '.join(VOLUMES)}); draw on a copy of it in an "
            "editor of pictures, keep its name, and name the folder of the copy by --reannotated"
        )


def _about(row: Mapping[str, Any], corrections: Mapping[str, Any], corrected: Path | None) -> str:
    """What there is of a correction."""
    if corrected is None and corrections["helps"] is False:
        return "No corrected label, since the audit does not trust its corrections: look at the network's own instead."
    if corrected is None:
        return "No corrected label, since --corrected names no folder of them: look at the network's own instead."
    if not row["corrected_mm3"]:
        return "The corrected label is the given one: right labels change as much. Look at the network's own as well."
    return f"The corrected label differs from the given one by {row['corrected_mm3']:.0f} mm3."
