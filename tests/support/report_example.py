"""A report of made-up cases, as small or as large as a test wants it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from audit_support import two_squares
from PIL import Image

from nnunetv2_mlbseg.audit.report import bytes_per_case, write_report
from nnunetv2_mlbseg.audit.tables import ranked
from nnunetv2_mlbseg.audit.thumbnails import thumbnails

NAMES = {0: "background", 1: "left </script><b>", 2: "right & co"}
ABOUT = {
    "dataset": "Dataset900_<b>Tiny</b>", "trainer": "nnUNetTrainerMLBSeg", "configuration": "2d", "fold": "0",
    "checkpoint": "checkpoint_final.pth", "epoch": 3, "witnesses": None, "classes": NAMES,
    "weights": {"weighting": "tied", "normalization": "joint", "none_because": None},
    "corrections": {"sentence": "Corrections cannot be trusted: <b>."},
}  # fmt: skip


SOURCES = {
    "sources": [
        {"source": "reader <1>", "cases": 7, "dice": 0.812, "dice_interval": [0.77, 0.85], "errors": ["small", "x"]},
        {"source": "atlas", "cases": 1, "dice": 0.6, "dice_interval": None, "errors": []},
    ],
    "to_label": [
        {"rank": 1, "case": "case_003", "expected_gain": 0.04, "expected_dice": 0.7, "why": "<unlike> others"},
        {"rank": 2, "case": "scan_77", "expected_gain": 0.01, "expected_dice": 0.8, "why": "many doubts"},
    ],
}


def write_example(
    path: Path, count: int, shape=(6, 30, 40), fill: int = 0, *, volume: bool = False, sources: bool = False
) -> None:
    """A report of ``count`` cases; with ``fill``, all show the pictures of one case, which take so many bytes.

    ``volume``: as of a 3D network. ``sources``: with the tables of sources and of what to label next. The p-value of
    case k is k / 20; case 1 has no proposal.
    """
    rows, pictures, shared = [], {}, None
    for seed in range(count):
        audited, image = two_squares(f"case_{seed:03d}", seed, shape if not fill else (6, 30, 40))
        rows.append({**audited.numbers(NAMES), "p_value": seed / 20})
        if seed == 1:
            rows[-1]["corrected_mm3"] = 0.0
        if sources:
            rows[-1]["source"] = "reader <1>" if seed % 2 else None
            rows[-1]["further_labels"] = ["atlas", "reader <3>"] if seed % 2 else []
        if fill and shared is None:
            tall = Image.fromarray((np.indices((192 * 30, 192)).sum(0) % 200).astype(np.uint8))
            files = [io.BytesIO(), io.BytesIO()]
            tall.save(files[0], "JPEG", quality=30)
            codes = np.zeros((192 * 30, 192, 3), np.uint8)
            codes[:, 60:120] = (17, 17, 9)
            Image.fromarray(codes).save(files[1], "PNG")
            base = thumbnails(audited, image, 0, 10**6)
            image_file, layers = (file.getvalue() for file in files)
            image_file += b"\0" * max(0, fill * 3 // 4 - len(image_file) - len(layers))
            shared = type(base)(tuple(range(30)), 192, 192, image_file, layers, (1.0,) * 30)
        pictures[f"case_{seed:03d}"] = shared or thumbnails(audited, image, 0, bytes_per_case(count), volume)
    for row in rows if fill else ():
        row["slice_scores"] = [0.9] * 30
    write_report(path, {**ABOUT, **(SOURCES if sources else {})}, ranked(rows), pictures)
