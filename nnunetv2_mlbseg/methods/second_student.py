"""What CPS, SDCL and DivideMix share: a second network like the student, which begins elsewhere and trains as well."""

from __future__ import annotations

from typing import Any

from torch import nn

from nnunetv2_mlbseg.methods.comparison import Comparison
from nnunetv2_mlbseg.networks.second_network import initialised_anew
from nnunetv2_mlbseg.training.task import Task


class WithSecondStudent(Comparison):
    """Methods with two students. The first one predicts, unless the settings say otherwise."""

    @classmethod
    def modules(cls, settings: Any, task: Task) -> nn.ModuleDict:
        """The second student."""
        return nn.ModuleDict({"second": initialised_anew(task.built())})

    def networks(self) -> tuple[nn.Module, nn.Module]:
        """Both, the first one first."""
        return self.passes.student_network, self.heads["second"]
