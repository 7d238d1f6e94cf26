"""Float32 or bfloat16 on the CPU: settled once, said in one line, kept by a training that goes on."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from maths_support import small_network
from method_support import course_of, mlbseg_step
from run_state_example import STATE
from torch import nn

from nnunetv2_mlbseg.methods.mlbseg.method import MLBSeg
from nnunetv2_mlbseg.progress.run_state import RunState
from nnunetv2_mlbseg.runtime import random_state
from nnunetv2_mlbseg.runtime.processes import Processes
from nnunetv2_mlbseg.training import precision
from nnunetv2_mlbseg.training.learning import Learning
from nnunetv2_mlbseg.training.run import Run
from noise_synthesis.safe_io.errors import InputError

PATCH = (1, 12, 12)
NONE = "this processor has no instructions for it (AMX, AVX512-BF16, Arm's BF16)"


def _begun(wanted: Any) -> tuple[Run, Learning, list[str]]:
    """A training before its first epoch, and its log."""
    learning, said = mlbseg_step("replayed", cpu_bfloat16=wanted), []
    return Run(course_of(MLBSeg, learning.settings), said.append), learning, said


def _machine(monkeypatch: pytest.MonkeyPatch, has: bool, ratio: float | None = None) -> None:
    """None: nothing may be measured."""

    def measured(network, patch):
        assert ratio is not None and patch == PATCH
        return ratio

    monkeypatch.setattr(precision, "has_bfloat16", lambda: has)
    monkeypatch.setattr(precision, "measured_ratio", measured)


@pytest.mark.parametrize(
    ("wanted", "has", "ratio", "on", "why"),
    [
        ("auto", True, 0.534, True, "on, a pass took 0.53 of its time in float32 (on below 0.9)"),
        ("auto", True, 1.2, False, "off, a pass took 1.20 of its time in float32 (on below 0.9)"),
        ("auto", False, None, False, f"off, {NONE}"),
        (True, True, None, True, "on, as cpu_bfloat16 says"),
        (False, True, None, False, "off, as cpu_bfloat16 says"),
        (False, False, None, False, "off, as cpu_bfloat16 says"),
    ],
)
def test_a_training_that_begins(monkeypatch, wanted, has, ratio, on, why):
    _machine(monkeypatch, has, ratio)
    run, learning, said = _begun(wanted)
    assert not learning.passes.bfloat16 and run.bfloat16 is None
    precision.settle_(run, learning, PATCH)
    assert said == [f"bfloat16 on the CPU: {why}"]
    assert run.bfloat16 is learning.passes.bfloat16 is on


def test_true_without_instructions_is_refused(monkeypatch):
    _machine(monkeypatch, has=False)
    run, learning, said = _begun(True)
    with pytest.raises(InputError) as error:
        precision.settle_(run, learning, PATCH)
    assert str(error.value) == f"cpu_bfloat16 is true, but {NONE}: set it to auto or false" and not said


@pytest.mark.parametrize(
    ("wanted", "before", "has", "why"),
    [
        ("auto", True, True, "on, as before"),
        ("auto", True, False, f"on, as before; {NONE}"),
        ("auto", False, True, "off, as before"),
        (True, False, True, "on, as cpu_bfloat16 says"),
        (False, True, True, "off, as cpu_bfloat16 says"),
    ],
)
def test_a_training_that_goes_on_measures_nothing(monkeypatch, wanted, before, has, why):
    _machine(monkeypatch, has)
    first, learning, _ = _begun(wanted)
    first.bfloat16 = before
    stored = first.state(first.stages.at(0), learning, own_network=False).packed()
    run, learning, said = _begun(wanted)
    run.take(RunState.unpacked(stored))
    precision.settle_(run, learning, PATCH)
    assert said == [f"bfloat16 on the CPU: {why}"] and learning.passes.bfloat16 is why.startswith("on")


def test_a_checkpoint_of_before_goes_on_in_float32(monkeypatch):
    _machine(monkeypatch, has=True)
    run, learning, said = _begun("auto")
    run.take(RunState.unpacked({**STATE, "config": learning.settings.as_dict()}))
    precision.settle_(run, learning, PATCH)
    assert said == ["bfloat16 on the CPU: off, as before"] and not learning.passes.bfloat16


def test_another_device_is_left_alone_and_the_choice_for_the_cpu_is_kept(monkeypatch):
    _machine(monkeypatch, has=False)
    run, learning, said = _begun(True)
    run.bfloat16, learning.passes.device = True, torch.device("cuda")
    precision.settle_(run, learning, PATCH)
    assert not learning.passes.bfloat16 and run.bfloat16 is True and not said


@pytest.mark.parametrize("rank", [0, 1])
def test_the_first_process_decides_for_all(monkeypatch, rank):
    """It finds 0.5; the other process measures nothing and is told."""
    _machine(monkeypatch, has=True, ratio=0.5 if rank == 0 else None)
    found = (True, "a pass took 0.50 of its time in float32 (on below 0.9)")
    told: list[Any] = []
    monkeypatch.setattr(Processes, "gather", lambda self, value: told.append(value) or [found, None])
    run, learning, said = _begun("auto")
    learning.processes = Processes(rank, 2)
    precision.settle_(run, learning, PATCH)
    assert learning.passes.bfloat16 and said == [f"bfloat16 on the CPU: on, {found[1]}"]
    assert (told == [found]) is (rank == 0)


class _Slower(nn.Module):
    """Takes ``rounds`` times as long under autocast."""

    def __init__(self, rounds: int) -> None:
        super().__init__()
        self.inner, self.rounds = small_network(), rounds
        self.inner.register_buffer("drawn", torch.zeros(()))

    def forward(self, images):
        torch.rand(3)
        outputs = self.inner(images)
        for _ in range(self.rounds if outputs.dtype == torch.bfloat16 else 0):
            outputs = outputs + self.inner(images)
        return [outputs, outputs[..., ::2]]


def test_the_measurement_tells_slow_from_fast_and_leaves_no_trace(monkeypatch):
    monkeypatch.setattr(precision, "LEAST_S", 0.05)
    network = _Slower(9)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    drawn, threads = random_state.capture()["torch"], torch.get_num_threads()
    ratio = precision.measured_ratio(network, (1, 32, 32))
    assert 2 < ratio < 100, "ten passes for one"
    assert torch.equal(random_state.capture()["torch"], drawn) and torch.get_num_threads() == threads
    for parameter, old in zip(network.parameters(), before, strict=True):
        assert parameter.grad is None and torch.equal(parameter, old)
