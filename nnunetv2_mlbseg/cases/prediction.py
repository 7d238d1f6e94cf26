"""A network's predictions of preprocessed cases, by nnU-Net's sliding window."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.inference.export_prediction import export_prediction_from_logits
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import Tensor, nn

from nnunetv2_mlbseg.maths.label_space import LabelSpace
from noise_synthesis.safe_io.files import atomic_files
from noise_synthesis.safe_io.reading import last_line
from noise_synthesis.safe_io.structures import Structures
from noise_synthesis.safe_io.whole_files import refuse_incomplete

NEVER = -1e4
"""The logit of a class that is not to be predicted; float16 holds it."""


class CasePredictor:
    """Predicts preprocessed cases.

    Args:
        network: With deep supervision switched off by the time it predicts.
        mirror_axes: Axes of test-time mirroring, or None for none.
        never: Outputs, classes or regions, that are not to be predicted.
    """

    def __init__(
        self,
        network: nn.Module,
        plans: PlansManager,
        configuration: ConfigurationManager,
        dataset_json: dict[str, Any],
        mirror_axes: tuple[int, ...] | None,
        device: torch.device,
        never: Sequence[int] = (),
    ):
        self.network, self.plans, self.configuration, self.dataset_json = network, plans, configuration, dataset_json
        self.never = torch.tensor(never, dtype=torch.long)
        self.label_manager = plans.get_label_manager(dataset_json)
        self.structures = Structures.of(dataset_json)
        with redirect_stdout(StringIO()):  # without a GPU nnU-Net tells that it will not use one
            self._sliding_window = nnUNetPredictor(
                use_mirroring=mirror_axes is not None,
                device=device,
                allow_tqdm=False,
                perform_everything_on_device=device.type == "cuda",
            )
            self._sliding_window.manual_initialization(
                network, plans, configuration, None, dataset_json, "nnUNetTrainerMLBSeg", mirror_axes
            )

    @property
    def space(self) -> LabelSpace:
        """What the outputs of the network mean."""
        return LabelSpace(self.structures.regions)

    def logits(self, dataset: nnUNetBaseDataset, case: str) -> tuple[Tensor, dict[str, Any]]:
        """The network's output (C, Z, Y, X) for a preprocessed case, on the CPU, and nnU-Net's properties of it."""
        data, _, _, properties = dataset.load_case(case)
        image = torch.from_numpy(np.array(data[:]))
        logits = self._sliding_window.predict_sliding_window_return_logits(image).cpu()
        return (logits.index_fill(0, self.never, NEVER) if len(self.never) else logits), properties

    def export(self, logits: Tensor, properties: dict[str, Any], path: Path) -> None:
        """Write the label that logits of a case give, in the case's own geometry.

        Args:
            path: Without the dataset's file ending, which is added.

        Raises:
            OSError: the file cannot be written whole.
        """
        ending = self.dataset_json["file_ending"]
        with atomic_files(path.with_name(path.name + ending)) as temporary:
            try:
                export_prediction_from_logits(
                    logits,
                    properties,
                    self.configuration,
                    self.plans,
                    self.dataset_json,
                    str(temporary)[: -len(ending)],
                    num_threads_torch=torch.get_num_threads(),
                )
            except RuntimeError as error:  # SimpleITK has no other
                if temporary.is_file() and os.access(temporary.parent, os.W_OK):
                    raise
                raise OSError(errno.EIO, f"cannot be written ({last_line(error)})", str(temporary)) from None
            refuse_incomplete(temporary)
