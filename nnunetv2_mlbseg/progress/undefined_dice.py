"""nnU-Net's pseudo Dice of an epoch without foreground, which would spoil its running mean for good."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any


def hold_undefined_dice_(logger: Any, report: Callable[[str], None]) -> None:
    """Where nnU-Net's pseudo Dice of an epoch is undefined, keep its running mean, which would be NaN for ever after.

    Args:
        logger: nnU-Net's; the values of the last epoch are replaced in it by the running mean (0 in a first epoch).
        report: Takes a line for the log file, if there was something to hold.
    """
    running = logger.get_value("ema_fg_dice", step=None)
    if math.isfinite(running[-1]):
        return
    held = float(running[-2]) if len(running) > 1 else 0.0
    for key in ("mean_fg_dice", "ema_fg_dice"):
        logger.get_value(key, step=None)[-1] = held
    report(
        f"No validation batch of this epoch shows or predicts foreground: no pseudo Dice, its running mean stays at "
        f"{held:.4f}"
    )
