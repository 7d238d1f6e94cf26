"""The maps of an audited case as image files in the geometry of its label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from nnunetv2_mlbseg.audit.case_audit import CaseAudit
from noise_synthesis.compressed import write_whole
from noise_synthesis.files import atomic_path
from noise_synthesis.label_files import write_like

NETWORK, UNCERTAINTY, SUSPICION = "network_label", "uncertainty", "suspicion"
FOLDERS = (NETWORK, UNCERTAINTY, SUSPICION)
DECIMALS = 3  # of probabilities in a file: more do not mean anything and would not compress


def write_maps(audited: CaseAudit, folder: Path, ending: str) -> None:
    """Write the network's label, its uncertainty and the suspected errors, one folder each."""
    for name in FOLDERS:
        (folder / name).mkdir(exist_ok=True)
    name, like = f"{audited.case}{ending}", audited.label.image
    write_like(audited.network.numpy(), like, folder / NETWORK / name)
    write_float_like(audited.uncertainty.numpy(), like, folder / UNCERTAINTY / name)
    write_float_like(audited.suspicion.numpy(), like, folder / SUSPICION / name)


def write_proposal(audited: CaseAudit, folder: Path, ending: str) -> None:
    """Write the corrected label, the ignore label where the given one has it."""
    original = sitk.GetArrayFromImage(audited.label.image)
    proposal = np.where(audited.label.classes.numpy() < 0, original, audited.proposal.numpy())
    write_like(proposal, audited.label.image, folder / f"{audited.case}{ending}")


def write_float_like(values: np.ndarray, like: sitk.Image, path: Path) -> None:
    """Write (Z, Y, X) from 0 to 1 as float32, rounded, with the geometry of ``like``, compressed."""
    image = sitk.GetImageFromArray(np.round(values, DECIMALS).astype(np.float32))
    image.CopyInformation(like)
    with atomic_path(path) as temporary:
        write_whole(image, temporary)
