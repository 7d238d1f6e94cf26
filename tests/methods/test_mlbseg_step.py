"""A bootstrapping step of MLB-Seg: what moves, by which terms, in how many passes, and that it repeats."""

from __future__ import annotations

import pytest
import torch
from method_support import NETWORKS, TanhNetwork, drawn_batch, mlbseg_step, parameters_of, take_step, weighed
from torch import nn

from nnunetv2_mlbseg.maths.views import draw_views

pytestmark = pytest.mark.usefixtures("sure_of_all")
TERMS = ("bootstrap", "mixture_dice", "consistency", "teacher", "strong", "supervised")


@pytest.mark.parametrize("weighting", ["tied", "meta", "uniform"])
@pytest.mark.parametrize("labeller", ["student", "teacher"])
@pytest.mark.parametrize("virtual", [False, True])
@pytest.mark.parametrize("network", NETWORKS)
def test_a_step_moves_the_student_only_and_all_values_are_finite(network, weighting, labeller, virtual):
    learning = mlbseg_step(network, weighting=weighting, pseudo_label_network=labeller, virtual_consistency=virtual)
    student, teacher = learning.student, learning.teacher.network
    before, teacher_before = parameters_of(student), parameters_of(teacher)
    found = take_step(learning, drawn_batch())
    assert all(torch.isfinite(value).all() for value in found.values())
    assert {"loss", "bootstrap", "views", "teacher", "supervised", "agreement"} <= found.keys()
    pairs = [(a, b) for a, b in zip(before, student.parameters(), strict=True) if b.grad is not None]
    kernels = [not torch.equal(a, b) for a, b in pairs if b.ndim > 1]  # instance norm takes the effect of most biases
    assert len(kernels) > 1 and all(kernels)
    assert all(torch.equal(a, b) for a, b in zip(teacher_before, teacher.parameters(), strict=True))
    assert all(p.grad is None for p in teacher.parameters())
    shared = weighed(learning, drawn_batch()).outputs is not None
    looked_at = weighting == "uniform" or (weighting, labeller) == ("tied", "student")  # all views before the weights
    assert shared == (network == "replayed" or looked_at), "which tangents these were"


@pytest.mark.parametrize("weighting", ["tied", "meta"])
@pytest.mark.parametrize("virtual", [False, True])
@pytest.mark.parametrize("network", NETWORKS)
def test_a_gradient_scaler_changes_nothing_in_float32(network, weighting, virtual):
    """The factor is a power of two, so that scaling and unscaling are exact; the weights' direction has a unit norm."""
    found = []
    for scaler in (None, torch.amp.GradScaler("cpu", init_scale=1024.0)):
        learning = mlbseg_step(network, grad_scaler=scaler, weighting=weighting, virtual_consistency=virtual)
        values = take_step(learning, drawn_batch())
        found.append((values, parameters_of(learning.student)))
    (plain, moved), (scaled, moved_scaled) = found
    for name in plain:
        torch.testing.assert_close(scaled[name], plain[name], rtol=1e-5, atol=1e-7)
    for a, b in zip(moved, moved_scaled, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("network", NETWORKS)
def test_each_term_alone_moves_the_student_and_weight_zero_removes_it(network, term):
    off = {f"{name}_weight": 0 for name in TERMS}
    for values, moves in (({**off, f"{term}_weight": 1}, True), (off, False)):
        learning = mlbseg_step(network, **values)
        before = parameters_of(learning.student)
        take_step(learning, drawn_batch())
        moved = [not torch.equal(a, b) for a, b in zip(before, learning.student.parameters(), strict=True)]
        assert any(moved) == moves


def test_the_supervised_term_alone_is_one_plain_sgd_step_on_the_clean_batch():
    learning = mlbseg_step(**{f"{name}_weight": 0 for name in TERMS if name != "supervised"})
    reference, batch = TanhNetwork(), drawn_batch()
    reference.load_state_dict(learning.student.state_dict())
    nn.functional.cross_entropy(reference(batch["data"]), batch["target"][:, 0].long()).backward()
    expected = [p.detach() - 0.1 * p.grad for p in reference.parameters()]
    take_step(learning, batch)
    for found, wanted in zip(learning.student.parameters(), expected, strict=True):
        assert torch.allclose(found, wanted, atol=1e-7)


@pytest.mark.parametrize("network", NETWORKS)
def test_equal_seeds_give_equal_steps_and_saved_generators_continue_them(network):
    first, second = mlbseg_step(network), mlbseg_step(network)
    assert float(take_step(first, drawn_batch())["loss"]) == float(take_step(second, drawn_batch())["loss"])
    generators = first.passes.generators
    states = generators.states()
    ahead = draw_views(("zoom_in",), 2, 2, generators.on_host("views")).matrices
    generators.set_states(states)
    assert torch.equal(draw_views(("zoom_in",), 2, 2, generators.on_host("views")).matrices, ahead)


def test_the_noise_generator_of_another_device_is_left_behind():
    learning = mlbseg_step()
    states = learning.passes.generators.states()
    foreign = {"views": states["views"], "noise on cuda": torch.zeros(16, dtype=torch.uint8)}
    learning.passes.generators.set_states(foreign)
    assert torch.isfinite(take_step(learning, drawn_batch())["loss"])


@pytest.mark.parametrize(("weighting", "with_tangents"), [("tied", 2), ("meta", 10), ("uniform", 0)])
@pytest.mark.parametrize("network", NETWORKS)
def test_the_student_runs_once_per_purpose(network, weighting, with_tangents):
    """Clean batch of two, tangents of what the strategy needs them, training, two strong; the teacher once."""
    learning = mlbseg_step(network, weighting=weighting)
    seen = {"student": 0, "teacher": 0}

    def count(name):
        def hook(_, inputs, __):
            seen[name] += len(inputs[0])

        return hook

    learning.student.register_forward_hook(count("student"))
    learning.teacher.network.register_forward_hook(count("teacher"))
    take_step(learning, drawn_batch())
    shown = 2 * len(learning.settings.all_views)
    assert seen == {"student": 2 + with_tangents + shown + 2, "teacher": shown}
