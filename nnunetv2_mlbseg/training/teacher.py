"""The mean teacher of a training: one network, and how many updates it has had."""

from __future__ import annotations

from torch import nn

from nnunetv2_mlbseg.maths.mean_teacher import ema_update_, make_teacher
from nnunetv2_mlbseg.maths.schedules import ema_decay_at


class Teacher:
    """An exponential moving average of the student over the whole training (section 3.3).

    Args:
        student: The network in training, from which the teacher starts.
        decay: What remains of the teacher at each update, once it has had many.
    """

    def __init__(self, student: nn.Module, decay: float):
        self.network = make_teacher(student)
        self.decay = decay
        self.step = 0
        """Updates so far. It counts on from a checkpoint: counted anew, the first update would copy the student."""

    def follow_(self, student: nn.Module) -> None:
        """Move towards the student."""
        ema_update_(self.network, student, ema_decay_at(self.step, self.decay))
        self.step += 1
