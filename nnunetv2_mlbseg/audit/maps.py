"""The maps of an audited case as image files in the geometry of its label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from nnunetv2_mlbseg.audit.one_case import CaseAudit
from noise_synthesis.safe_io.compressed import write_whole
from noise_synthesis.safe_io.files import atomic_path
from noise_synthesis.safe_io.label_files import write_like

NETWORK, UNCERTAINTY, SUSPICION = "network_label", "uncertainty", "suspicion"
WEIGHT_IMPERFECT, WEIGHT_PSEUDO = "weight_imperfect", "weight_pseudo"
DECIMALS = 3  # of numbers in a file: more do not mean anything and would not compress


def write_maps(audited: CaseAudit, folder: Path, ending: str) -> None:
    """Write the network's label, its uncertainty, the suspected errors and the weights, one folder each."""
    name, like = f"{audited.case}{ending}", audited.label.image
    numbers = {UNCERTAINTY: audited.uncertainty, SUSPICION: audited.suspicion}
    if audited.weights is not None:
        numbers |= {WEIGHT_IMPERFECT: audited.weights.imperfect, WEIGHT_PSEUDO: audited.weights.pseudo}
    for kind in (NETWORK, *numbers):
        (folder / kind).mkdir(exist_ok=True)
    write_like(audited.network.numpy(), like, folder / NETWORK / name)
    for kind, values in numbers.items():
        write_float_like(values.numpy(), like, folder / kind / name)


def write_proposal(audited: CaseAudit, folder: Path, ending: str) -> None:
    """Write the corrected label, the ignore label where the given one has it."""
    original = sitk.GetArrayFromImage(audited.label.image)
    proposal = np.where(audited.label.classes.numpy() < 0, original, audited.proposal.numpy())
    write_like(proposal, audited.label.image, folder / f"{audited.case}{ending}")


def write_float_like(values: np.ndarray, like: sitk.Image, path: Path) -> None:
    """Write (Z, Y, X) as float32, rounded, with the geometry of ``like``, compressed."""
    rounded = np.round(values, DECIMALS) + 0.0  # no negative zeros
    image = sitk.GetImageFromArray(rounded.astype(np.float32))
    image.CopyInformation(like)
    with atomic_path(path) as temporary:
        write_whole(image, temporary)
