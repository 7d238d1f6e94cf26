"""The maps of an audited case as image files in the geometry of its label."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from dataset_conversion.raw.formats import DatasetFormat
from nnunetv2_mlbseg.audit.one_case import CaseAudit
from noise_synthesis.safe_io.structures import Structures

NETWORK, UNCERTAINTY, SUSPICION = "network_label", "uncertainty", "suspicion"
WEIGHT_IMPERFECT, WEIGHT_PSEUDO = "weight_imperfect", "weight_pseudo"
DECIMALS = 3  # of numbers in a file: more do not mean anything and would not compress


def write_maps(audited: CaseAudit, folder: Path, format: DatasetFormat) -> None:
    """Write the network's label, its uncertainty, the suspected errors and the weights, one folder each."""
    case, like = audited.case, audited.label.reading
    numbers = {UNCERTAINTY: audited.uncertainty, SUSPICION: audited.suspicion}
    if audited.weights is not None:
        for ending, imperfect, pseudo in zip(
            _endings(audited.groups.structures), audited.weights.imperfect, audited.weights.pseudo, strict=True
        ):
            numbers |= {WEIGHT_IMPERFECT + ending: imperfect, WEIGHT_PSEUDO + ending: pseudo}
    for kind in (NETWORK, *numbers):
        (folder / kind).mkdir(exist_ok=True)
    format.write(audited.network.numpy(), like, folder / NETWORK / f"{case}{format.ending}")
    for kind, values in numbers.items():
        rounded = np.round(values.numpy(), DECIMALS) + 0.0  # no negative zeros
        format.write_values(rounded, like, folder / kind / f"{case}{format.values_ending}")


def _endings(structures: Structures) -> list[str]:
    """What tells the weights of regions apart: number and name; nothing where classes exclude each other."""
    if not structures.regions:
        return [""]
    return [f"_{number}_{re.sub(r'[^A-Za-z0-9-]+', '_', name)}" for number, name in enumerate(structures.values, 1)]


def write_proposal(audited: CaseAudit, folder: Path, format: DatasetFormat) -> None:
    """Write the corrected label, the ignore label where the given one has it."""
    original = audited.label.reading.voxels[0]
    proposal = np.where(audited.label.classes.numpy() < 0, original, audited.proposal.numpy())
    format.write(proposal, audited.label.reading, folder / f"{audited.case}{format.ending}")
