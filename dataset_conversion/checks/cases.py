"""Everything that can be wrong with one case, found in one reading of its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dataset_conversion.checks.report import PROBLEM, WARNING, Finding
from dataset_conversion.raw.cases import TRUE_LABELS
from dataset_conversion.raw.dataset import RawCase, RawDataset
from dataset_conversion.raw.fingerprint import Fingerprint, content_hash, fingerprint, label_hash
from dataset_conversion.raw.geometry import GRID_TOLERANCE_VOXELS, grid_distance_voxels
from dataset_conversion.raw.images import read_image, values_in
from dataset_conversion.raw.label_files import LabelFormat, SimpleItkLabels, non_finite, read_channels
from noise_synthesis.safe_io.errors import InputError

VOLUME_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")
"""Formats of which nnU-Net takes one file a channel; a natural image holds its colours in one."""

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


def inspect_case(case: RawCase, dataset: RawDataset, labels: LabelFormat, reader: type) -> CaseFacts:
    """Read the images and labels of a case and note whatever is wrong with it; raises nothing for a bad file."""
    facts = CaseFacts(case.name)
    if len(case.images) != dataset.channels:
        facts.add("channels", f"{len(case.images)} image files, but dataset.json names {dataset.channels} channels")
    image = _inspect_images(facts, case.images, reader)
    if not case.label.is_file():
        facts.add("missing label", f"no label file {case.label.name} in {case.label.parent.name}")
        return facts
    label = _inspect_label(facts, case, dataset, labels)
    true_path = dataset.folder / TRUE_LABELS / case.label.name
    true_label = _read_true_label(facts, true_path, labels) if true_path.is_file() else None
    seen = [voxels for voxels in (label, true_label) if voxels is not None and len(values_in(voxels)) > 1]
    facts.label_hashes = tuple(sorted({label_hash(voxels) for voxels in seen}))
    if seen and image is not None and image.shape == seen[-1].shape:
        facts.fingerprint = fingerprint(image, seen[-1])
    return facts


def _inspect_images(facts: CaseFacts, paths: Sequence[Path], reader: type) -> np.ndarray | None:
    """Note what is wrong with the images; return the first channel (z, y, x)."""
    try:
        images, properties = read_channels(reader, paths)
    except InputError as error:
        facts.add("unreadable image", str(error))
        return None
    if len(images) != len(paths) and paths[0].name.endswith(VOLUME_ENDINGS):
        facts.add("channels", f"{paths[0].name} holds {len(images)} volumes, expected one volume a file")
        return None
    facts.shape = images.shape[1:]
    facts.spacing_mm = tuple(float(step) for step in properties["spacing"])
    facts.direction = _direction(properties)
    facts.image_hash = content_hash(images)
    for path in non_finite(images, paths):
        facts.add("NaN", f"{path.name} holds NaN or infinite values; replace them by numbers that make sense")
    for image, path in zip(images, paths, strict=False):
        largest = float(np.abs(np.nan_to_num(image, posinf=0, neginf=0)).max())
        if largest > LARGEST_INTENSITY:
            facts.add("extreme value", f"{path.name} has the intensity {largest:.3g}; preprocessing would overflow")
        if image.min() == image.max():
            facts.add("constant image", f"{path.name} has the value {image.flat[0]:g} everywhere")
    first: np.ndarray = images[0]
    return first


def _inspect_label(facts: CaseFacts, case: RawCase, dataset: RawDataset, labels: LabelFormat) -> np.ndarray | None:
    """Note what is wrong with the label; return it (z, y, x)."""
    try:
        volume, grid = labels.read(case.label)
    except InputError as error:
        facts.add("unreadable label", str(error))
        return None
    voxels = volume.voxels
    facts.label_values = tuple(int(value) for value in values_in(voxels))
    strange = [value for value in facts.label_values if value not in dataset.labels.values()]
    if strange:
        allowed = ", ".join(str(value) for value in dataset.labels.values())
        facts.add("label value", f"label value {', '.join(map(str, strange[:5]))}; dataset.json has {allowed}")
    if facts.shape is not None and voxels.shape != facts.shape:
        facts.add("shape", f"image and label differ in shape: {facts.shape} and {voxels.shape} (z, y, x)")
    elif facts.shape is not None and isinstance(labels, SimpleItkLabels):
        _compare_grids(facts, case, grid)
    return voxels


def _compare_grids(facts: CaseFacts, case: RawCase, label: Any) -> None:
    distance = grid_distance_voxels(read_image(case.images[0]), label)
    if not distance <= GRID_TOLERANCE_VOXELS:
        facts.add(
            "geometry",
            f"image and label lie elsewhere in space, up to {distance:.3g} voxels apart (spacing, origin or direction)",
        )


def _read_true_label(facts: CaseFacts, path: Path, labels: LabelFormat) -> np.ndarray | None:
    try:
        return labels.read(path)[0].voxels
    except InputError as error:
        facts.add("unreadable label", str(error), WARNING)
        return None


def _direction(properties: dict[str, Any]) -> tuple[float, ...] | None:
    if "sitk_stuff" in properties:
        return tuple(float(value) for value in properties["sitk_stuff"]["direction"])
    if "nibabel_stuff" in properties:
        affine = np.asarray(properties["nibabel_stuff"]["original_affine"])[:3, :3]
        return tuple((affine / np.linalg.norm(affine, axis=0)).ravel().tolist())
    return None
