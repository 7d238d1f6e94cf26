"""Checkpoints: nnU-Net's own fields and ours in one file, and how it reaches the disk.

The file is nnU-Net's format (``torch.save`` of a dictionary) with nnU-Net's field names, so its own commands read it.
``network_weights`` is always the network chosen for inference; ``student_weights`` and ``teacher_weights`` hold both.
"""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nnunetv2_mlbseg.progress.run_state import RunState
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import atomic_path

OPTIMIZER_KEYS = ("momentum", "nesterov", "weight_decay")
NAMES = ("checkpoint_final.pth", "checkpoint_best.pth", "checkpoint_latest.pth", "checkpoint_warmup.pth")
OUR_FIELDS = ("student_weights", "teacher_weights", "mlbseg")


def packed(
    of_nnunet: Mapping[str, Any], networks: Mapping[str, nn.Module], for_inference: str, state: RunState
) -> dict[str, Any]:
    """nnU-Net's fields, both networks, and all that the training needs to go on.

    Args:
        networks: "student" and "teacher", without wrappers.
        for_inference: The one that nnU-Net's commands are to find.
    """
    weights = {name: network.state_dict() for name, network in networks.items()}
    return {
        "network_weights": weights[for_inference],
        **of_nnunet,
        "student_weights": weights["student"],
        "teacher_weights": weights["teacher"],
        "mlbseg": state.packed(),
    }


def restore_optimizer_(optimizer: torch.optim.Optimizer, stored: Mapping[str, Any]) -> None:
    """Momentum buffers and learning rate as stored; what is configured stays as it is configured now."""
    configured = [{key: group[key] for key in OPTIMIZER_KEYS} for group in optimizer.param_groups]
    optimizer.load_state_dict(dict(stored))
    for group, settings in zip(optimizer.param_groups, configured, strict=True):
        group.update(settings)


def check_roles(now: Mapping[str, Sequence[str]], then: Mapping[str, Sequence[str]], where: str) -> None:
    """Refuse to go on with other cases: what has trained already must not validate.

    Args:
        where: Dataset and fold, which begin the error line.

    Raises:
        InputError: a role has other cases now.
    """
    changed = [role for role in now if list(now[role]) != list(then[role])]
    if changed:
        raise InputError(
            f"{where}: the {', '.join(changed)} cases are not those the checkpoint was trained with; restore "
            f"supervision/ and splits_final.json, or train again without --c"
        )


def best_so_far(stored: float | None, logged: Sequence[float]) -> float | None:
    """The best running mean of the Dice in a checkpoint, None if there is none yet.

    nnU-Net writes ``checkpoint_latest.pth`` before it compares the epoch with the best: of an epoch that was the best,
    that file stores the best of before, and a worse network could then replace ``checkpoint_best.pth``.
    """
    known = [*logged, *([] if stored is None else [stored])]
    return max((float(value) for value in known if math.isfinite(value)), default=None)


def write(checkpoint: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a checkpoint so that a kill at any moment leaves the previous file or the new one, never a part."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        try:
            torch.save(dict(checkpoint), file)
        except RuntimeError as error:  # torch closes its archive in vain after the disk's own error
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise OSError(errno.EIO, f"cannot be written ({error})", str(temporary)) from None
        file.flush()
        os.fsync(file.fileno())


def set_aside(folder: str | os.PathLike[str]) -> list[str]:
    """Rename the checkpoints of an earlier training to ``*.replaced``; ``--c`` would take them for this one's.

    Returns:
        The names that were found.
    """
    found = [name for name in NAMES if (Path(folder) / name).is_file()]
    for name in found:
        os.replace(Path(folder) / name, Path(folder) / f"{name}.replaced")
    return found


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
