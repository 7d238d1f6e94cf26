"""Where a trained fold lies on disk, by the names its user gives, and whether it is what was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from os.path import join
from pathlib import Path
from typing import Any

import torch
from nnunetv2.paths import nnUNet_results

from nnunetv2_mlbseg.progress import checkpoint
from noise_synthesis.safe_io.errors import InputError


@dataclass(frozen=True)
class FoldPlace:
    """A fold of a training, as its user names it."""

    dataset: str
    trainer: str
    plans: str
    configuration: str
    fold: str
    checkpoint: str = "checkpoint_final.pth"

    @property
    def folder(self) -> Path:
        """``nnUNet_results/DatasetXXX_NAME/TRAINER__PLANS__CONFIGURATION/fold_F``."""
        model = f"{self.trainer}__{self.plans}__{self.configuration}"
        return Path(join(nnUNet_results, self.dataset, model, f"fold_{self.fold}"))

    @property
    def path(self) -> Path:
        """The checkpoint file."""
        return self.folder / self.checkpoint

    def read(self, device: torch.device) -> dict[str, Any]:
        """Read the checkpoint.

        Raises:
            InputError: there is none, or it comes from another trainer or another dataset.
        """
        if not nnUNet_results.is_set():
            raise InputError("nnUNet_results is not set, expected the folder of nnU-Net's trained models")
        if not self.folder.is_dir():
            there = sorted(path.parent.name for path in self.folder.parents[1].glob("*/fold_*"))
            hint = f"there: {', '.join(dict.fromkeys(there))}" if there else "no trained model of this dataset there"
            raise InputError(f"{self.folder}: no such folder; {hint}")
        path = self.path
        found = checkpoint.read(path, device)
        init = found["init_args"]
        facts = {
            "trainer": (found["trainer_name"], self.trainer),
            "dataset": (init["plans"]["dataset_name"], self.dataset),
            "configuration": (init["configuration"], self.configuration),
        }
        for what, (got, expected) in facts.items():
            if got != expected:
                raise InputError(
                    f"{path}: written for {what} {got}, expected {expected}; the options -tr, -p, -c and -f choose "
                    f"another one"
                )
        return found
