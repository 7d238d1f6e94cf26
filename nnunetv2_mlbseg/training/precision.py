"""Whether a training on the CPU computes in bfloat16: settled once, by the processor and a short measurement."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nnunetv2_mlbseg.maths.tensors import at_least_float32
from nnunetv2_mlbseg.networks.surgery import plain_network
from nnunetv2_mlbseg.runtime import random_state
from nnunetv2_mlbseg.runtime.bfloat16 import has_bfloat16
from nnunetv2_mlbseg.runtime.threads import one_thread
from nnunetv2_mlbseg.training.learning import Learning
from nnunetv2_mlbseg.training.run import Run
from noise_synthesis.safe_io.errors import InputError

WORTH_IT = 0.9
"""bfloat16 is coarser: it has to take less than this share of float32's time."""
IMAGES, LEAST_ROUNDS = 2, 3
LEAST_S, LONGEST_S = 1.0, 10.0
"""How long rounds are repeated; small networks need many of them."""

NO_INSTRUCTIONS = "this processor has no instructions for it (AMX, AVX512-BF16, Arm's BF16)"


def settle_(run: Run, learning: Learning, patch: Sequence[int]) -> None:
    """Choose the precision of a training that begins or goes on, and say in the log how; the first process decides.

    With ``cpu_bfloat16`` auto a training goes on as it was, so that it ends as without the interruption.

    Args:
        patch: ``(channels, *S)`` of an image.

    Raises:
        InputError: ``cpu_bfloat16`` is true on a processor that would be slower by it.
    """
    wanted, passes = learning.settings.cpu_bfloat16, learning.passes
    if passes.device.type != "cpu":
        return
    if wanted is True and not has_bfloat16():
        raise InputError(f"cpu_bfloat16 is true, but {NO_INSTRUCTIONS}: set it to auto or false")
    decided = (bool(wanted), "as cpu_bfloat16 says")
    if wanted == "auto" and learning.processes.is_first:
        decided = _auto(run.bfloat16, learning.student, patch)
    on, why = learning.processes.gather(decided)[0]
    run.bfloat16 = passes.bfloat16 = on
    run.report(f"bfloat16 on the CPU: {'on' if on else 'off'}, {why}")


def _auto(before: bool | None, network: nn.Module, patch: Sequence[int]) -> tuple[bool, str]:
    """Whether to compute in bfloat16, and why.

    Args:
        before: Of a training that goes on, else None.
    """
    if before is not None:
        return before, "as before" + (f"; {NO_INSTRUCTIONS}" if before and not has_bfloat16() else "")
    if not has_bfloat16():
        return False, NO_INSTRUCTIONS
    ratio = measured_ratio(network, patch)
    return ratio < WORTH_IT, f"a pass took {ratio:.2f} of its time in float32 (on below {WORTH_IT:g})"


def measured_ratio(network: nn.Module, patch: Sequence[int]) -> float:
    """Time of a forward and backward pass in bfloat16, relative to float32. Network and random state stay as they are.

    The fastest of several passes counts, in CPU time and on one thread, which other programs disturb least.
    """
    with random_state.preserved(), one_thread():
        trial = copy.deepcopy(plain_network(network))
        images = torch.randn(IMAGES, *patch)
        fastest = {False: float("inf"), True: float("inf")}
        for bfloat16 in fastest:  # the first pass of a kind also sets up its kernels
            _seconds(trial, images, bfloat16)
        began, rounds, passed = time.perf_counter(), 0, 0.0
        while passed < LONGEST_S and (rounds < LEAST_ROUNDS or passed < LEAST_S):
            for bfloat16, best in fastest.items():
                fastest[bfloat16] = min(best, _seconds(trial, images, bfloat16))
            rounds, passed = rounds + 1, time.perf_counter() - began
    return fastest[True] / fastest[False]


def _seconds(network: nn.Module, images: Tensor, bfloat16: bool) -> float:
    began = time.process_time()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
        outputs = network(images)
    outputs = [outputs] if isinstance(outputs, Tensor) else outputs
    torch.stack([at_least_float32(output).square().mean() for output in outputs]).sum().backward()
    return time.process_time() - began
