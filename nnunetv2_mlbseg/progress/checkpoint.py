"""What a checkpoint holds beyond nnU-Net's own fields, and how it reaches the disk.

The file is nnU-Net's format (``torch.save`` of a dictionary) with nnU-Net's field names, so its own commands read it.
``network_weights`` is always the network chosen for inference; ``student_weights`` and ``teacher_weights`` hold both.
"""

from __future__ import annotations

import dataclasses
import errno
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from nnunetv2_mlbseg.networks.surgery import plain_network
from nnunetv2_mlbseg.progress.epoch_log import EpochLog
from nnunetv2_mlbseg.runtime import random_state
from nnunetv2_mlbseg.runtime.stop_request import PartialEpoch
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import atomic_path

if TYPE_CHECKING:
    from nnunetv2_mlbseg.training.trainer import nnUNetTrainerMLBSeg

OPTIMIZER_KEYS = ("momentum", "nesterov", "weight_decay")
NAMES = ("checkpoint_final.pth", "checkpoint_best.pth", "checkpoint_latest.pth", "checkpoint_warmup.pth")
OUR_FIELDS = ("student_weights", "teacher_weights", "mlbseg")


def collect(trainer: nnUNetTrainerMLBSeg) -> dict[str, Any]:
    """nnU-Net's fields under its names, then ours."""
    student, teacher = plain_network(trainer.network).state_dict(), trainer.teacher.state_dict()
    return {
        "network_weights": teacher if trainer.config.inference_network == "teacher" else student,
        "optimizer_state": trainer.optimizer.state_dict(),
        "grad_scaler_state": None if trainer.grad_scaler is None else trainer.grad_scaler.state_dict(),
        "logging": trainer.logger.get_checkpoint(),
        "_best_ema": trainer._best_ema,
        "current_epoch": trainer.current_epoch + (trainer.partial is None),
        "init_args": trainer.my_init_kwargs,
        "trainer_name": trainer.__class__.__name__,
        "inference_allowed_mirroring_axes": trainer.inference_allowed_mirroring_axes,
        "student_weights": student,
        "teacher_weights": teacher,
        "mlbseg": {
            "config": trainer.config.as_dict(),
            "roles": dataclasses.asdict(trainer.roles),
            "stage": trainer.stage,
            "own_network": trainer.has_own_network,
            "ema_step": trainer.ema_step,
            "epoch_log": trainer.epoch_log.state(),
            "generated_by": trainer.generated_by,
            "random_state": (trainer.partial and trainer.partial.random_state) or random_state.capture(),
            "partial_epoch": trainer.partial and trainer.partial.state(),
            "generators": trainer.bootstrap_step.generator_states(),
            **trainer.bootstrap_step.records_state(),
        },
    }


def restore(trainer: nnUNetTrainerMLBSeg, found: Mapping[str, Any]) -> None:
    """Put an initialised trainer where :func:`collect` found it.

    The global random state is only handed over: building the loaders draws, so the trainer restores it afterwards.
    """
    _check_roles(trainer, found["mlbseg"]["roles"])
    plain_network(trainer.network).load_state_dict(found["student_weights"])
    trainer.teacher.load_state_dict(found["teacher_weights"])
    configured = [{key: group[key] for key in OPTIMIZER_KEYS} for group in trainer.optimizer.param_groups]
    trainer.optimizer.load_state_dict(found["optimizer_state"])
    for group, settings in zip(trainer.optimizer.param_groups, configured, strict=True):
        group.update(settings)  # the configuration of now, not the one of the checkpoint
    if trainer.grad_scaler is not None and found["grad_scaler_state"] is not None:
        trainer.grad_scaler.load_state_dict(found["grad_scaler_state"])
    trainer.my_init_kwargs = found["init_args"]
    trainer.current_epoch = found["current_epoch"]
    finished = {key: values[: trainer.current_epoch] for key, values in found["logging"].items()}
    trainer.logger.load_checkpoint(finished)
    trainer._best_ema = best_so_far(found["_best_ema"], finished.get("ema_fg_dice", []))
    trainer.inference_allowed_mirroring_axes = found["inference_allowed_mirroring_axes"]
    state = found["mlbseg"]
    trainer.ema_step = state["ema_step"]
    trainer.epoch_log = EpochLog(state["epoch_log"])
    trainer.generated_by = state["generated_by"]
    trainer.pending_random_state = state["random_state"]
    partial = state.get("partial_epoch")
    trainer.partial = None if partial is None else PartialEpoch.from_state(partial)
    trainer.bootstrap_step.set_generator_states(state["generators"])
    trainer.bootstrap_step.set_records_state(state)


def best_so_far(stored: float | None, logged: Sequence[float]) -> float | None:
    """The best running mean of the Dice in a checkpoint, None if there is none yet.

    nnU-Net writes ``checkpoint_latest.pth`` before it compares the epoch with the best: of an epoch that was the best,
    that file stores the best of before, and a worse network could then replace ``checkpoint_best.pth``.
    """
    known = [*logged, *([] if stored is None else [stored])]
    return max((float(value) for value in known if math.isfinite(value)), default=None)


def _check_roles(trainer: nnUNetTrainerMLBSeg, then: Mapping[str, Any]) -> None:
    """Refuse to go on with other cases: what has trained already must not validate."""
    now = dataclasses.asdict(trainer.roles)
    changed = [role for role in now if list(now[role]) != list(then[role])]
    if changed:
        raise InputError(
            f"{trainer.plans_manager.dataset_name}, fold {trainer.fold}: the {', '.join(changed)} cases are not those "
            f"the checkpoint was trained with; restore supervision/ and splits_final.json, or train again without --c"
        )


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
