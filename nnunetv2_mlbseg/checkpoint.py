"""What a checkpoint holds beyond nnU-Net's own fields, and how it reaches the disk.

The file is nnU-Net's format (``torch.save`` of a dictionary) with nnU-Net's field names, so its own commands read it.
``network_weights`` is always the network chosen for inference; ``student_weights`` and ``teacher_weights`` hold both.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch

from noise_synthesis.errors import InputError
from noise_synthesis.files import atomic_path

OUR_FIELDS = ("student_weights", "teacher_weights", "mlbseg")


def write(checkpoint: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a checkpoint so that a kill at any moment leaves the previous file or the new one, never a part."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        torch.save(dict(checkpoint), file)
        file.flush()
        os.fsync(file.fileno())


def read(path: str | os.PathLike[str], device: torch.device) -> dict[str, Any]:
    """Read a checkpoint that an MLB-Seg trainer wrote.

    nnU-Net's checkpoints are pickles: load only files you trust.

    Raises:
        InputError: the file is missing, damaged, or from another trainer.
    """
    try:
        checkpoint = torch.load(path, map_location=device, weights_only=False)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except Exception as error:  # torch raises many types for a damaged file
        raise InputError(f"{path}: cannot be read as a checkpoint ({type(error).__name__}: {error})") from None
    missing = [field for field in OUR_FIELDS if field not in checkpoint]
    if missing:
        trainer = checkpoint.get("trainer_name", "an unknown trainer")
        raise InputError(
            f"{path}: written by {trainer}, without {', '.join(missing)}; expected a checkpoint of nnUNetTrainerMLBSeg "
            f"(another trainer's weights can start a training through -pretrained_weights)"
        )
    return checkpoint
