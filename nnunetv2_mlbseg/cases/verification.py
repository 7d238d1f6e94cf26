"""The check before the first epoch: is every preprocessed case fit to train on?"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from dataset_conversion.checks.image_record import compare_images, keep, raw_images
from dataset_conversion.raw.fingerprint import content_hash
from dataset_conversion.supervision.files import name_some
from nnunetv2_mlbseg.cases.datasets import open_dataset
from nnunetv2_mlbseg.runtime.processes import Processes
from noise_synthesis.safe_io.errors import InputError


def verify_all(folder: str, cases: Sequence[str], labels: LabelManager, processes: Processes) -> dict[str, str]:
    """Read every case once; the processes share the work and all get the same answer.

    Args:
        folder: nnU-Net's preprocessed cases.
        labels: Says which label values may occur.

    Returns:
        A hash of every image by case.

    Raises:
        InputError: one line with every problem that :func:`verify_cases` finds.
    """
    dataset = open_dataset(folder, processes.part(cases))
    allowed = [*labels.all_labels, *([labels.ignore_label] if labels.has_ignore_label else [])]
    lines, hashes = verify_cases(dataset, allowed, Path(folder))
    found = processes.gather_lines(lines)
    if found:
        raise InputError(f"{len(found)} problem(s) in the preprocessed data: " + "; ".join(found))
    return {case: digest for part in processes.gather(hashes) for case, digest in part.items()}


def verify_images(
    folder: str, cases: Sequence[str], raw: Path, processes: Processes, report: Callable[[str], None]
) -> None:
    """Hold the raw images against those that were preprocessed, as far as times and the record tell (`compare_images`).

    Args:
        folder: nnU-Net's preprocessed cases.
        raw: The raw dataset.
        report: Is told of images that are newer than the preprocessed ones; only ``mlbseg check`` reads those.

    Raises:
        InputError: images are not those of the record.
    """
    files = raw_images(raw)
    own = {case: files[case] for case in processes.part(cases) if case in files}
    found = processes.gather(compare_images(own, Path(folder), raw))
    changed, suspect = ([case for part in found for case in getattr(part, what)] for what in ("changed", "suspect"))
    if changed:
        raise InputError(
            f"{folder}: the images of {name_some(changed)} in {raw} are not those that were preprocessed; run "
            "nnUNetv2_preprocess again (if only the files were saved anew, 'mlbseg check' finds that)"
        )
    if processes.is_first:
        keep(Path(folder), {case: entry for part in found for case, entry in part.same.items()})
    if suspect:
        report(
            f"WARNING: raw images of {len(suspect)} cases are newer than the preprocessed ones ({name_some(suspect)}): "
            "run 'mlbseg check', which compares them"
        )


def verify_cases(
    dataset: nnUNetBaseDataset, allowed: Collection[int], folder: Path
) -> tuple[list[str], dict[str, str]]:
    """Read every case once and describe what a training would trip over.

    Args:
        dataset: nnU-Net's dataset over the cases to read.
        allowed: Label values that may occur; -1 (outside the cropped foreground) is always allowed.
        folder: Named in the messages.

    Returns:
        One line per problem (unreadable files, image and label of different shape, NaN or infinite intensities,
        label values that dataset.json does not know), and a hash of every readable image by case.
    """
    known = np.array(sorted({-1, *allowed}))
    found, images = [], {}
    for case in dataset.identifiers:
        try:
            data, seg, _, _ = dataset.load_case(case)
            image, label = np.asarray(data[:]), np.asarray(seg[:])
        except Exception as error:  # the formats raise their own types; whichever it is, the case cannot be used
            found.append(f"{folder / case}: cannot be read ({type(error).__name__}: {error})")
            continue
        images[case] = content_hash(image)
        if len(label) != 1:
            found.append(
                f"{folder / case}: label has {len(label)} channels, expected one value for each pixel; save the label "
                "file as a grey picture of the label values and preprocess again"
            )
        elif image.shape[1:] != label.shape[1:]:
            found.append(f"{folder / case}: image is {image.shape[1:]}, label {label.shape[1:]}, expected equal shapes")
        if not np.isfinite(image).all():
            found.append(f"{folder / case}: image has NaN or infinite values, expected finite intensities")
        strange = np.setdiff1d(np.unique(label), known)
        if strange.size:
            found.append(
                f"{folder / case}: label has the values {strange.tolist()}, expected only {known[1:].tolist()}"
            )
    return found, images
