"""Student, teacher and the pass for derivatives are compiled where nnU-Net compiles, once, and say the same."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from maths_support import relative_error, small_network
from method_support import drawn_batch, mlbseg_step, take_guarded_step
from torch import Tensor
from torch._dynamo.testing import CompileCounter
from torch._dynamo.utils import counters

from nnunetv2_mlbseg.maths.tangents.compiled import CompiledTangents
from nnunetv2_mlbseg.maths.tangents.forward import logit_tangents, unit_direction
from nnunetv2_mlbseg.training.learning import Learning
from nnunetv2_mlbseg.training.passes import Passes

IMAGES = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _anew():
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def _compiled(learning: Learning, backend: Any) -> Learning:
    """As nnU-Net's trainer hands the student over where it compiles; passes take a GPU's way."""
    fields = {name: getattr(learning.passes, name) for name in Passes.__dataclass_fields__}
    compiler = partial(torch.compile, backend=backend)
    fields |= {"student_network": compiler(learning.student), "compiler": compiler}
    learning.passes = learning.method.passes = Passes(**fields)
    learning.method.weigh = type(learning.method.weigh)(
        learning.settings, learning.method.task, learning.passes, learning.method.weighting
    )
    return learning


def _direction(network: torch.nn.Module) -> list[Tensor | None]:
    outputs = network(IMAGES)
    some = outputs if isinstance(outputs, Tensor) else outputs[0]
    return unit_direction(torch.autograd.grad(some.square().sum(), list(network.parameters()), allow_unused=True))


@pytest.mark.parametrize(("weighting", "at_once"), [("tied", None), ("meta", 2)])
def test_nothing_is_compiled_after_the_first_steps_and_no_graph_breaks(weighting, at_once):
    """Two steps: with the second one torch may take the number of images for one that changes."""
    counter = CompileCounter()
    plain = mlbseg_step("replayed", weighting=weighting, images_at_once=at_once)
    learning = _compiled(mlbseg_step("replayed", weighting=weighting, images_at_once=at_once), counter)
    plain.passes._replays = False
    for number in range(2):
        for each in (plain, learning):
            take_guarded_step(each, drawn_batch(number))
    compiled = counter.frame_count
    for number in range(2, 4):
        found = [take_guarded_step(each, drawn_batch(number)) for each in (plain, learning)]
    assert counter.frame_count == compiled and 3 <= compiled <= 8
    assert not counters["graph_break"] and not counters["unimplemented"]
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize(("kind", "deep"), [("plain", True), ("residual", False)])
def test_compiled_derivatives_are_those_of_the_other_pass(kind, deep):
    network = small_network(kind, deep_supervision=deep)
    direction, parameters = _direction(network), list(network.parameters())
    tangents = CompiledTangents(network, partial(torch.compile, backend="eager"))
    tangents(IMAGES, direction)
    found = tangents(IMAGES, direction)
    assert tangents.compiles
    assert all(a is b for a, b in zip(parameters, network.parameters(), strict=True)), "all are back in their places"
    for ours, expected in zip(found, logit_tangents(network, IMAGES, direction), strict=True):
        pairs = zip(ours, expected, strict=True) if deep else [(ours, expected)]
        assert all(relative_error(a, b) < 1e-5 and not a.requires_grad for a, b in pairs)


def test_what_cannot_be_compiled_is_said_and_goes_on_uncompiled():
    def broken(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no compiler here")

    network = small_network()
    direction = _direction(network)
    tangents = CompiledTangents(network, partial(torch.compile, backend=broken))
    with pytest.warns(UserWarning, match="not compiled, which only makes it slower.*no compiler here"):
        found = tangents(IMAGES, direction)
    assert not tangents.compiles and torch.equal(found[1], logit_tangents(network, IMAGES, direction)[1])
    assert torch.equal(tangents(IMAGES, direction)[1], found[1]), "and it is not tried again"


def test_a_network_with_batch_normalisation_keeps_its_running_statistics():
    network = small_network(norm="batch")
    direction = _direction(network)
    before = [buffer.clone() for buffer in network.buffers()]
    CompiledTangents(network, partial(torch.compile, backend="eager"))(IMAGES, direction)
    assert all(torch.equal(a, b) for a, b in zip(before, network.buffers(), strict=True))


def test_without_compile_nothing_is_compiled():
    passes = mlbseg_step("replayed").passes
    assert passes._teacher_pass is passes.teacher_network and passes._tangents is None
