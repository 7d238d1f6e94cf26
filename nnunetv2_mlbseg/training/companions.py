"""What a method trains beside the network: made, moved to the device, and said in the log."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from nnunetv2_mlbseg.runtime import random_state
from nnunetv2_mlbseg.training.course import Course
from nnunetv2_mlbseg.training.task import Task


def made(course: Course, task: Task, compiled: bool, report: Callable[[str], None]) -> nn.ModuleDict:
    """The method's modules, where the network is. Random draws that follow are those of a training without them.

    Args:
        compiled: Whether the network is. Companions that are whole networks are compiled then, too.
        report: Takes lines for the log file.
    """
    with random_state.preserved():
        found = course.method.modules(course.settings, task)
    if len(found):
        found.to(next(task.built().parameters()).device)
        report(described(found))
    for module in found.values():
        if compiled and hasattr(module, "encoder"):
            module.compile()  # in place: names in checkpoints stay
    return found


def described(companions: nn.ModuleDict) -> str:
    """One line on the memory that they take beyond stock nnU-Net's."""
    sizes = [f"{name} ({_millions(module)} million parameters)" for name, module in companions.items()]
    return (
        f"Beside the network train: {', '.join(sizes)}. They take memory beyond stock nnU-Net's; if it does not "
        f"suffice, set smaller batches (clean_batch_size, imperfect_batch_size)"
    )


def _millions(module: nn.Module) -> str:
    return f"{sum(parameter.numel() for parameter in module.parameters()) / 1e6:.3g}"
