"""The folders of a run, and ``nnUNetv2_train`` in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnunetv2_mlbseg.study.running.commands import Commands, nnunet_environment
from noise_synthesis.safe_io.files import read_json

FOLD = 0
Study = Mapping[str, Any]


class Training:
    """The folders and commands of a run."""

    def __init__(self, study: Study, root: Path, folder: str):
        self.run = study["runs"][folder]
        self.target, self.data = root / folder, root / self.run["data"]
        self.dataset = read_json(self.data / "converted.json")["dataset"]
        self.raw = self.data / "nnUNet_raw" / self.dataset
        plan, self.device = study["plan"], study["device"]
        self.plans_name, self.configuration = plan["plans_name"], plan["configuration"]
        self.results = self.target / "nnUNet_results"
        self.model = self.results / self.dataset / f"{self.run['trainer']}__{self.plans_name}__{self.configuration}"
        self.fold = self.model / f"fold_{FOLD}"
        self.environment = nnunet_environment(self.data, self.results, study)
        self.environment |= {"nnUNet_def_n_proc": str(study["threads"]), **study["environment"]}

    def train(self, run: Commands, *options: str) -> None:
        """``nnUNetv2_train``; on the CPU with augmentation in the training process."""
        what = [int(self.dataset[7:10]), self.configuration, FOLD, "-tr", self.run["trainer"], "-p", self.plans_name]
        more = {"MLBSEG_CONFIG": str(self.target / "config.json")}
        if self.device == "cpu":
            more["nnUNet_n_proc_DA"] = "0"
        run("nnUNetv2_train", *what, "-device", self.device, *options, **more)

    def held_out(self) -> list[str]:
        """The fold's validation cases."""
        preprocessed = self.data / "nnUNet_preprocessed" / self.dataset
        place = next(folder for folder in (self.raw, preprocessed) if (folder / "splits_final.json").is_file())
        cases: list[str] = read_json(place / "splits_final.json")[FOLD]["val"]
        return cases
