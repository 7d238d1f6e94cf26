"""Audits of made-up cases, for the tests of what follows from an audit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from dataset_conversion.raw.formats import Reading
from nnunetv2_mlbseg.audit.label_files import Label
from nnunetv2_mlbseg.audit.label_groups import LabelGroups
from nnunetv2_mlbseg.audit.network_opinion import Opinion
from nnunetv2_mlbseg.audit.one_case import CaseAudit, Thresholds, audit_case
from nnunetv2_mlbseg.audit.weight_maps import WeightMaps
from nnunetv2_mlbseg.audit.witnesses import Witnesses
from nnunetv2_mlbseg.maths.unshown import Unshown
from nnunetv2_mlbseg.maths.weighting.depth import depth_levels
from noise_synthesis.safe_io.structures import Structures

SQUARES = Structures({"left </script><b>": (1,), "right & co": (2,)})


def reading(label: np.ndarray, spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Reading:
    """A label (z, y, x) as nnU-Net's SimpleITK reader gives it; spacing in the order x, y, z."""
    itk = {"spacing": spacing_mm, "origin": (0.0, 0.0, 0.0), "direction": (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0)}
    return Reading(label[None].astype(np.float32), {"sitk_stuff": itk, "spacing": list(spacing_mm[::-1])})


def two_squares(name: str, seed: int, shape=(6, 30, 40), unshown: Unshown | None = None):
    """Two squares; the label misses rows of one, more with every seed. Their audit and an image."""
    rng = np.random.default_rng(seed)
    truth = np.zeros(shape, np.int64)
    truth[1:5, 5:20, 5:15], truth[1:5, 5:20, 20:35] = 1, 2
    given = truth.copy()
    given[2, 5 : 7 + seed % 10] = 0
    logits = 5.0 * np.stack([truth == k for k in range(3)]) + rng.normal(0, 0.5, (3, *shape))
    label = Label(Path(name), reading(given, (1.0, 1.5, 4.0)), torch.from_numpy(given))
    probabilities = torch.from_numpy(logits).float().softmax(0)
    share = torch.where(label.classes == probabilities.argmax(0), 0.5, 0.1)
    share[2, 5:7, 8:15] = 0.9
    weights = WeightMaps(share[None], 1 - share[None])
    opinion, levels = Opinion(probabilities, probabilities), depth_levels(label.classes)[None]
    known, groups = (Witnesses(None), Thresholds(0.9, 0.0)), LabelGroups(SQUARES)
    audited = audit_case(name, opinion, label, *known, 0, levels, weights, unshown, groups)
    return audited, rng.random(shape)


def one_square(seed: int, wrong_rows: int) -> tuple[CaseAudit, torch.Tensor]:
    """A square whose label lacks some rows; the network sees the truth, a little blurred by noise. With the truth."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((2, 20, 20), np.int64)
    truth[:, 5:15, 5:15] = 1
    given = truth.copy()
    given[:, 5 : 5 + wrong_rows] = 0
    logit = 6 * (truth - 0.5) + rng.normal(0, 1, truth.shape)
    foreground = torch.from_numpy(1 / (1 + np.exp(-logit))).float()
    label = Label(Path(f"case{seed}"), reading(given), torch.from_numpy(given))
    probabilities = torch.stack([1 - foreground, foreground])
    opinion = Opinion(probabilities, probabilities)
    audited = audit_case(
        f"case{seed}", opinion, label, Witnesses(None), Thresholds(0.8, 0.0), 0, depth_levels(label.classes)[None]
    )
    return audited, torch.from_numpy(truth)
