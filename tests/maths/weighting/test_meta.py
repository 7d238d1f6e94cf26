"""Eq. 4-8: the one-pass weight maps against the second-order virtual step, by hand and by definition."""

from __future__ import annotations

import math

import pytest
import torch
from maths_support import NoHostReads, Problem, relative_error, seen, small_network

from nnunetv2_mlbseg.maths.labels import IGNORE
from nnunetv2_mlbseg.maths.records import NoRecord
from nnunetv2_mlbseg.maths.weighting.meta import Meta, class_derivatives, label_weights
from nnunetv2_mlbseg.networks.unetplusplus import UNetPlusPlus

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
LOGITS, TANGENTS = torch.randn(2, 2, 3, 6, 5, generator=torch.Generator().manual_seed(0))
IMPERFECT = torch.randint(-1, 3, (2, 6, 5), generator=torch.Generator().manual_seed(1))
PSEUDO = torch.randint(3, (2, 6, 5), generator=torch.Generator().manual_seed(2))
SEEN = seen([LOGITS], [TANGENTS], IMPERFECT, PSEUDO)


def assert_exact(problem: Problem) -> None:
    dtype = problem.images.dtype
    for ours, expected in zip(problem.by_tangents(), problem.by_virtual_step(), strict=True):
        for weights, oracle, size in zip(ours, expected, problem.sizes, strict=True):
            assert weights.dtype == dtype
            assert weights.shape == oracle.shape == (2, *size)
            assert (oracle > 0).any() and (oracle < 0).any()
            assert relative_error(weights, oracle) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("deep_supervision", [False, True])
@pytest.mark.parametrize(
    ("kind", "norm"), [("plain", "instance"), ("residual", "instance"), ("plain", "batch"), ("residual", "batch")]
)
def test_weights_equal_the_second_order_virtual_step(
    kind: str, norm: str, deep_supervision: bool, classes: int, dtype: torch.dtype
) -> None:
    network = small_network(kind, classes=classes, deep_supervision=deep_supervision, norm=norm, dtype=dtype)
    assert_exact(Problem(network, classes, (16, 24)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [(32, 48), (33, 44)], ids=["even", "repeats the last row on the way up"])
def test_weights_equal_the_virtual_step_on_unetplusplus(size: tuple[int, int], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    assert_exact(Problem(UNetPlusPlus(1, 3, (4, 6, 8)).to(dtype), 3, size))


@pytest.mark.parametrize("kind", ["plain", "residual"])
@pytest.mark.parametrize("flat", [False, True], ids=["kernels 3x3x3", "kernels 1x3x3"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_equal_the_virtual_step_in_3d(kind: str, flat: bool, dtype: torch.dtype) -> None:
    network = small_network(kind, classes=3, deep_supervision=True, dims=3, flat=flat, dtype=dtype)
    assert_exact(Problem(network, 3, (8, 8, 12)))


def test_weights_in_eval_mode_use_the_running_statistics_of_batch_norm() -> None:
    network = small_network(norm="batch", dtype=torch.float64)
    network(torch.randn(4, 1, 16, 16, dtype=torch.float64))
    assert_exact(Problem(network.eval(), 2, (16, 16)))


def test_ignored_pixels_weigh_nothing() -> None:
    problem = Problem(small_network(), 2, (16, 16))
    imperfect, pseudo = problem.by_tangents()
    ignored = problem.imperfect[0] < 0
    assert ignored.any()
    assert (imperfect[0][ignored] == 0).all()
    assert (pseudo[0][ignored] != 0).all()


def test_label_weights_by_hand() -> None:
    """Two classes, softmax (1/4, 3/4), tangents (8, 4): mean 5; label 0: 5 - 8 = -3, label 1: 5 - 4 = 1."""
    logits = torch.tensor([0.0, math.log(3)]).reshape(1, 2, 1, 1).expand(1, 2, 1, 4)
    tangents = torch.tensor([8.0, 4.0]).reshape(1, 2, 1, 1).expand(1, 2, 1, 4)
    labels = torch.tensor([[[0, 1, IGNORE, -9]]])
    torch.testing.assert_close(
        label_weights(class_derivatives(logits, tangents), labels), torch.tensor([[[-3.0, 1.0, 0.0, 0.0]]])
    )


def test_label_weights_of_half_precision_are_computed_in_float32() -> None:
    logits, tangents = torch.randn(2, 1, 3, 5, 5).half()
    labels = torch.randint(3, (1, 5, 5))
    weights = label_weights(class_derivatives(logits, tangents), labels)
    assert weights.dtype == torch.float32
    assert torch.equal(weights, label_weights(class_derivatives(logits.float(), tangents.float()), labels))


def test_raw_weights_are_equations_4_to_6() -> None:
    """Raw weight of label y from the definition: the derivative of -log softmax_y along the tangent, pixel by pixel."""
    (found,) = Meta("sum").weigh(SEEN, NoRecord())
    for ours, labels in ((found.raw_imperfect, IMPERFECT), (found.raw_pseudo, PSEUDO)):
        one_hot = torch.nn.functional.one_hot(labels.clamp_min(0), 3).movedim(-1, 1)
        derivative = ((LOGITS.softmax(1) - one_hot) * TANGENTS).sum(1)
        torch.testing.assert_close(ours, derivative * (labels >= 0))


def test_weights_sum_to_one_and_are_those_of_labels_that_help() -> None:
    (found,) = Meta("sum").weigh(SEEN, NoRecord())
    for _, weights in found.pairs():
        assert (weights >= 0).all() and weights.sum().item() == pytest.approx(1)
    assert (found.weight_imperfect[IMPERFECT < 0] == 0).all()
    assert torch.equal(found.weight_imperfect > 0, label_weights(class_derivatives(LOGITS, TANGENTS), IMPERFECT) > 0)


def test_every_scale_has_weights_of_its_own_derivatives() -> None:
    logits, tangents = (
        [torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(seed)) for size in ((6, 4), (3, 2))]
        for seed in (3, 4)
    )
    n, p = IMPERFECT[:, :, :4], PSEUDO[:, :, :4]
    found = Meta("joint").weigh(seen(logits, tangents, n, p), NoRecord())
    assert torch.equal(found[1].imperfect, n[:, 1::2, 1::2])  # "nearest-exact" at half the size
    for at_scale, z, dz in zip(found, logits, tangents, strict=True):
        alone = Meta("joint").weigh(seen([z], [dz], at_scale.imperfect, at_scale.pseudo), NoRecord())[0]
        assert all(torch.equal(a, b) for (_, a), (_, b) in zip(at_scale.pairs(), alone.pairs(), strict=True))


def test_derivatives_are_needed() -> None:
    with pytest.raises(ValueError, match="need the derivatives"):
        Meta("sum").weigh(seen([LOGITS], None, IMPERFECT, PSEUDO), NoRecord())


def test_no_value_is_read_on_the_host() -> None:
    with NoHostReads() as watched:
        label_weights(class_derivatives(LOGITS, TANGENTS), IMPERFECT)
    assert watched.operations
