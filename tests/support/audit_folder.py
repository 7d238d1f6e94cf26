"""The folder of an audit of the tiny dataset, as its command writes it, without the training before it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from training_support import DATASET, SUPERVISION, write_raw_dataset

CLASSES = {"0": "background", "1": "disc_1", "2": "disc_2"}


def write_audit(root: Path, **changes: Any) -> tuple[Path, Path, Path]:
    """The raw dataset with two channels, the folder of its audit, and that of the corrected labels: n0 with n1's label.

    Args:
        changes: Of audit.json.
    """
    raw, audit, corrected = write_raw_dataset(root / "raw", classes=2), root / "audit_900", root / "corrected_900"
    corrected.mkdir()
    for number, case in enumerate(SUPERVISION.noisy):
        label, image = raw / "labelsTr" / f"{case}.nii.gz", raw / "imagesTr" / f"{case}_0000.nii.gz"
        shutil.copy(image, image.with_name(f"{case}_0001.nii.gz"))
        for kind, source in {"network_label": label, "suspicion": image}.items():
            (audit / kind).mkdir(parents=True, exist_ok=True)
            shutil.copy(source, audit / kind / label.name)
        other = SUPERVISION.noisy[1 - number]
        shutil.copy(raw / "labelsTr" / f"{other}.nii.gz", corrected / f"{case}.nii.gz")
    rows = [{"case": case, "corrected_mm3": 12.0 * number} for number, case in enumerate(SUPERVISION.noisy)]
    found = {"dataset": DATASET, "classes": CLASSES, "corrections": {"helps": True}, "cases": rows, **changes}
    description = json.loads((raw / "dataset.json").read_text())
    (raw / "dataset.json").write_text(json.dumps({**description, "channel_names": {"0": "MRI", "1": "MRI again"}}))
    (audit / "audit.json").write_text(json.dumps(found))
    (corrected / "proposals.json").write_text(json.dumps({"dataset": found["dataset"]}))
    return raw, audit, corrected
