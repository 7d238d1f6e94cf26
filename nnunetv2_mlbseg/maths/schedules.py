"""What rises with the length of a training: the weight of a term, the memory of the teacher. Numbers, no tensors."""

from __future__ import annotations

import math


def ramp_up(iteration: float, length: float) -> float:
    """What part of its weight a term has: exp(-5 (1 - t)^2) with t from 0 to 1 (Laine and Aila, ICLR 2017).

    Args:
        iteration: iterations done.
        length: iterations, or what else is counted, until the part is 1; 0: it always is.
    """
    left = 1 - iteration / length if iteration < length else 0.0
    return math.exp(-5 * left**2)


def ema_decay_at(step: int, decay: float) -> float:
    """The teacher's decay at an EMA step: min(decay, 1 - 1 / (step + 1)), as Tarvainen and Valpola ramp it up.

    Step 0 copies the student. Deviation from the authors' script: ``step`` counts the updates of the WHOLE training.
    Counted within an epoch, it would set the teacher to the student at the start of every epoch.
    """
    return min(decay, 1 - 1 / (step + 1))
