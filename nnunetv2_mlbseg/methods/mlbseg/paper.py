"""The preset ``paper``: the paper's equations and numbers. What it leaves open is from the authors' training script.

The explanation of the method lists what stays nnU-Net's under this preset too.
"""

from __future__ import annotations

from typing import Any

NUMBERS = "section 4.1"
SCRIPT = "the authors' script"
PAPER_WITH_SOURCES: dict[str, tuple[Any, str]] = {
    "warmup_epochs": (30, NUMBERS),
    "epochs": (100, NUMBERS),
    "iterations_per_epoch": (None, "an epoch is a pass over the data"),
    "initial_lr": (5e-3, NUMBERS),
    "momentum": (0.9, NUMBERS),
    "nesterov": (False, ""),
    "weight_decay": (5e-4, NUMBERS),
    "lr_decay_exponent": (0.0, ""),
    "gradient_clip": (0.2, SCRIPT),
    "deep_supervision": (False, ""),
    "warmup_batch_size": (16, NUMBERS),
    "weighting": ("meta", "Eq. 4-6"),
    "weight_normalization": ("sum", "Eq. 8"),
    "bootstrap_weight": (1.0, "Eq. 9"),
    "mixture_dice_weight": (0.0, "Eq. 9"),
    "generated_weight": (1.0, "Eq. 9"),
    "generated_ramp_up": (0, "Eq. 9"),
    "align_shares": (False, "Eq. 1, 10"),
    "strong_weight": (0.0, ""),
    "clean_loss": ("ce", "Eq. 5"),
    "pseudo_label_network": ("student", "Eq. 3, 10"),
    "ema_decay": (0.99, NUMBERS),
    "mirror_generated": (False, ""),
    "inference_network": ("student", ""),
}
"""Key -> value, and where it is from."""

PAPER: dict[str, Any] = {key: value for key, (value, _) in PAPER_WITH_SOURCES.items()}
SOURCES: dict[str, str] = {key: source for key, (_, source) in PAPER_WITH_SOURCES.items() if source}
