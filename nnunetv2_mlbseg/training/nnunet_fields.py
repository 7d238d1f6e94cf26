"""nnU-Net's own fields of a checkpoint, from its trainer and back. nnU-Net's commands read them by these names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunetv2_mlbseg.progress import checkpoint


def fields_of(trainer: nnUNetTrainer, complete: bool) -> dict[str, Any]:
    """All but the weights.

    Args:
        complete: Whether the present epoch is; then the next one is the first to do.
    """
    return {
        "optimizer_state": trainer.optimizer.state_dict(),
        "grad_scaler_state": None if trainer.grad_scaler is None else trainer.grad_scaler.state_dict(),
        "logging": trainer.logger.get_checkpoint(),
        "_best_ema": trainer._best_ema,
        "current_epoch": trainer.current_epoch + complete,
        "init_args": trainer.my_init_kwargs,
        "trainer_name": type(trainer).__name__,
        "inference_allowed_mirroring_axes": trainer.inference_allowed_mirroring_axes,
    }


def take_fields_(trainer: nnUNetTrainer, found: Mapping[str, Any]) -> None:
    """Undo :func:`fields_of`; optimiser settings stay as they are configured now."""
    checkpoint.restore_optimizer_(trainer.optimizer, found["optimizer_state"])
    if trainer.grad_scaler is not None and found["grad_scaler_state"] is not None:
        trainer.grad_scaler.load_state_dict(found["grad_scaler_state"])
    trainer.my_init_kwargs, trainer.current_epoch = found["init_args"], found["current_epoch"]
    finished = {key: values[: trainer.current_epoch] for key, values in found["logging"].items()}
    trainer.logger.load_checkpoint(finished)
    trainer._best_ema = checkpoint.best_so_far(found["_best_ema"], finished.get("ema_fg_dice", []))
    trainer.inference_allowed_mirroring_axes = found["inference_allowed_mirroring_axes"]
