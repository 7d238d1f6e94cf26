"""A step on the CPU in bfloat16 beside the same one in float32."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from maths_support import relative_error
from method_support import CPU, NETWORKS, START, drawn_batch, mlbseg_step, take_guarded_step, weighed

from nnunetv2_mlbseg.training.batch import Batch
from nnunetv2_mlbseg.training.learning import Learning
from nnunetv2_mlbseg.training.stages import Draw, Stage

WARM_UP = Stage("warm-up", 1, Draw(("clean",), 2, "key"), quantity="warmup")


def _learning(bfloat16: bool, network: str = "replayed", **settings: Any) -> Learning:
    learning = mlbseg_step(network, **settings)
    learning.passes.bfloat16 = bfloat16
    return learning


def _kinds(learning: Learning) -> dict[str, set[torch.dtype]]:
    """The types that come out of student and teacher, filled as they run."""
    found: dict[str, set[torch.dtype]] = {"student": set(), "teacher": set()}
    for name, network in (("student", learning.student), ("teacher", learning.teacher.network)):
        network.register_forward_hook(lambda _, __, output, name=name: found[name].add(output.dtype))
    return found


@pytest.mark.parametrize("weighting", ["tied", "meta", "uniform"])
@pytest.mark.parametrize("network", NETWORKS)
def test_a_steps_terms_are_those_of_float32_and_its_update_is_finite(network, weighting):
    steps = {}
    for bfloat16 in (False, True):
        learning = _learning(bfloat16, network, weighting=weighting)
        before = [parameter.detach().clone() for parameter in learning.student.parameters()]
        kinds = _kinds(learning)
        steps[bfloat16] = take_guarded_step(learning, drawn_batch())
        assert (torch.bfloat16 in kinds["student"]) is (torch.bfloat16 in kinds["teacher"]) is bfloat16
        after = list(learning.student.parameters())
        assert all(p.dtype == torch.float32 and torch.isfinite(p).all() for p in after)
        assert sum(not torch.equal(*pair) for pair in zip(before, after, strict=True)) > 3
        assert steps[bfloat16]["skipped"] == 0
    for name in ("loss", "bootstrap", "supervised"):
        exact, found = float(steps[False][name]), float(steps[True][name])
        assert found == pytest.approx(exact, rel=0.02), name
    assert steps[True]["loss"] != steps[False]["loss"]


@pytest.mark.parametrize(("weighting", "steps", "of_tangents"), [("tied", 20, 0.2), ("meta", 0, 1e-4)])
def test_weights_are_those_of_float32_to_a_thousandth(weighting, steps, of_tangents):
    """The direction of tied weights is that of a pass in bfloat16: they learn from it, over many iterations.

    Pseudo labels change where two classes are equally probable, and there the weights may be others; with meta they are
    those of the exact pass that gives the derivatives.
    """
    learning = _learning(False, weighting=weighting, pseudo_label_network="student", initial_lr=0.01)
    for number in range(steps):
        take_guarded_step(learning, drawn_batch(10 + number))
    generators, found = learning.passes.generators, {}
    drawn = {name: state.clone() for name, state in generators.states().items()}
    for learning.passes.bfloat16 in (False, True):
        generators.set_states({name: state.clone() for name, state in drawn.items()})
        found[learning.passes.bfloat16] = weighed(learning, drawn_batch())
    same = found[True].labels[0].pseudo == found[False].labels[0].pseudo
    assert same.float().mean() > (0.99 if weighting == "tied" else 0.9999)
    for name in ("weight_imperfect", "weight_pseudo"):
        ours, wanted = (getattr(found[on].labels[0], name)[same] for on in (True, False))
        assert wanted.any() and relative_error(ours, wanted) < 1e-3, name
    assert relative_error(found[True].derivatives, found[False].derivatives) < of_tangents
    assert found[True].derivatives.dtype == torch.float32


def test_the_step_of_the_warm_up_is_in_bfloat16_too_and_nnunets_own_without():
    loaded = {name: value for name, value in drawn_batch().items() if not name.startswith("imperfect")}
    exact = _learning(False).supervised_step(Batch.of(loaded, CPU), "warmup")["loss"]
    for bfloat16 in (False, True):
        learning, asked = _learning(bfloat16), []

        def nnunets(batch, asked=asked):
            asked.append(batch)
            return {"loss": exact}

        kinds = _kinds(learning)
        found = learning.iteration(WARM_UP, loaded, START, nnunets)
        assert bool(asked) is not bfloat16 and kinds["student"] == ({torch.bfloat16} if bfloat16 else set())
        assert float(found["loss"]) == float(found["warmup"]) == pytest.approx(float(exact), rel=0.02)
