"""Everything that can be wrong with one case, found in one reading of its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dataset_conversion.checks.report import PROBLEM, WARNING, Finding
from dataset_conversion.raw.cases import FORMER_LABELS, TRUE_LABELS
from dataset_conversion.raw.companions import companions
from dataset_conversion.raw.dataset import RawCase, RawDataset
from dataset_conversion.raw.fingerprint import Fingerprint, content_hash, fingerprint, label_hash
from dataset_conversion.raw.formats import DatasetFormat, Reading
from dataset_conversion.raw.further import further_sources
from dataset_conversion.raw.images import values_in
from noise_synthesis.safe_io.damage import NotFiniteError
from noise_synthesis.safe_io.errors import InputError

LARGEST_INTENSITY = 1e15
"""Preprocessing squares and sums intensities in float32, which ends at 3.4e38."""


@dataclass
class CaseFacts:
    """What is known of a case after reading it.

    ``shape`` (z, y, x), ``spacing_mm`` (z, y, x) and ``direction`` are the first image's. ``image_hash``,
    ``label_hashes`` (the label, and the true label of a simulation) and ``fingerprint`` identify content; labels of a
    single value have none. ``label_values`` is None if the label could not be read.
    """

    name: str
    findings: list[Finding] = field(default_factory=list)
    shape: tuple[int, ...] | None = None
    spacing_mm: tuple[float, ...] | None = None
    direction: tuple[float, ...] | None = None
    image_hash: str | None = None
    label_hashes: tuple[str, ...] = ()
    label_values: tuple[int, ...] | None = None
    fingerprint: Fingerprint | None = None

    def add(self, kind: str, message: str, severity: str = PROBLEM) -> None:
        """Add a finding about this case."""
        self.findings.append(Finding(kind, severity, f"case {self.name}: {message}", (self.name,)))


def inspect_case(case: RawCase, dataset: RawDataset, format: DatasetFormat) -> CaseFacts:
    """Read the images and labels of a case and note whatever is wrong with it; raises nothing for a bad file."""
    facts = CaseFacts(case.name)
    for path in (*case.images, case.label):
        try:
            companions(path, case.name, format, is_image=path != case.label)
        except (InputError, OSError) as error:
            if path.is_file():  # a file that is not there is named below
                facts.add("companion", str(error))
    image = _inspect_images(facts, case.images, dataset, format)
    if not case.label.is_file():
        facts.add("missing label", f"no label file {case.label.name} in {case.label.parent.name}")
        return facts
    label = _inspect_label(facts, case, image, dataset, format)
    true_label = _inspect_beside(facts, TRUE_LABELS, case, image, dataset, format, WARNING)
    for folder in (FORMER_LABELS, *(path.name for path in further_sources(dataset.folder).values())):
        _inspect_beside(facts, folder, case, image, dataset, format, PROBLEM)
    seen = [voxels for voxels in (label, true_label) if voxels is not None and len(values_in(voxels)) > 1]
    facts.label_hashes = tuple(sorted({label_hash(voxels) for voxels in seen}))
    if seen and image is not None and image.shape == seen[-1].shape:
        facts.fingerprint = fingerprint(image.voxels[0], seen[-1])
    return facts


def _inspect_images(
    facts: CaseFacts, paths: Sequence[Path], dataset: RawDataset, format: DatasetFormat
) -> Reading | None:
    """Note what is wrong with the images; return them."""
    try:
        image = format.channels(paths)
    except NotFiniteError as error:
        facts.add("NaN", str(error))
        return None
    except InputError as error:
        facts.add("unreadable image", str(error))
        return None
    if len(image.voxels) != dataset.channels:
        facts.add(
            "channels",
            f"{len(image.voxels)} channels in {len(paths)} image files, but dataset.json names {dataset.channels}",
        )
    facts.shape = image.shape
    facts.spacing_mm = tuple(float(step) for step in image.properties["spacing"])
    facts.direction = image.grid.directions
    facts.image_hash = content_hash(image.voxels)
    for channel, voxels in enumerate(image.voxels):
        name = paths[channel].name if len(paths) == len(image.voxels) else f"channel {channel} of {paths[0].name}"
        low, high = float(voxels.min()), float(voxels.max())
        if max(-low, high) > LARGEST_INTENSITY:
            facts.add("extreme value", f"{name} has the intensity {max(-low, high):.3g}; preprocessing would overflow")
        if low == high:
            facts.add("constant image", f"{name} has the value {low:g} everywhere")
    return image


def _inspect_label(
    facts: CaseFacts, case: RawCase, image: Reading | None, dataset: RawDataset, format: DatasetFormat
) -> np.ndarray | None:
    """Note what is wrong with the label; return it (z, y, x)."""
    try:
        volume, label = format.read(case.label)
    except InputError as error:
        facts.add("unreadable label", str(error))
        return None
    voxels = volume.voxels
    facts.label_values = _inspect_values(facts, voxels, dataset)
    difference = None if image is None else image.grid.difference(label.grid)
    if difference:
        facts.add("geometry" if voxels.shape == facts.shape else "shape", f"image and label {difference}")
    return voxels


def _inspect_beside(
    facts: CaseFacts,
    folder: str,
    case: RawCase,
    image: Reading | None,
    dataset: RawDataset,
    format: DatasetFormat,
    severity: str,
) -> np.ndarray | None:
    """Note what is wrong with a further label of the case, if it has one in that folder; return it (z, y, x)."""
    path = dataset.folder / folder / case.label.name
    if not path.is_file():
        return None
    try:
        volume, label = format.read(path)
    except InputError as error:
        facts.add("unreadable label", str(error), severity)
        return None
    _inspect_values(facts, volume.voxels, dataset, severity, f"{folder}: ")
    difference = None if image is None else image.grid.difference(label.grid)
    if difference:
        kind = "geometry" if volume.voxels.shape == facts.shape else "shape"
        facts.add(kind, f"image and label in {folder} {difference}", severity)
    return volume.voxels


def _inspect_values(
    facts: CaseFacts, voxels: np.ndarray, dataset: RawDataset, severity: str = PROBLEM, where: str = ""
) -> tuple[int, ...]:
    """Note label values that dataset.json does not name; return all."""
    values = tuple(int(value) for value in values_in(voxels))
    strange = [value for value in values if value not in dataset.label_values]
    if strange:
        allowed = ", ".join(map(str, dataset.label_values))
        few = ", ".join(map(str, strange[:5]))
        facts.add("label value", f"{where}label value {few}; dataset.json has {allowed}", severity)
    return values
