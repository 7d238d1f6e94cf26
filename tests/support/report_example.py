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
    "checkpoint": "checkpoint_final.pth", "epoch": 3, "witnesses": None,
    "weights": {"weighting": "tied", "normalization": "joint", "none_because": None},
    "corrections": {"sentence": "Corrections cannot be trusted: <b>."},
}  # fmt: skip


def write_example(path: Path, count: int, shape=(6, 30, 40), fill: int = 0) -> None:
    """A report of ``count`` cases; with ``fill``, all show the pictures of one case, which take so many bytes."""
    rows, pictures, shared = [], {}, None
    for seed in range(count):
        audited, image = two_squares(f"case_{seed:03d}", seed, shape if not fill else (6, 30, 40))
        rows.append(audited.numbers(NAMES))
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
            shared = type(base)(tuple(range(30)), 192, 192, image_file, layers)
        pictures[f"case_{seed:03d}"] = shared or thumbnails(audited, image, 0, bytes_per_case(count))
    for row in rows if fill else ():
        row["slice_scores"] = [0.9] * 30
    write_report(path, ABOUT, ranked(rows), pictures)
