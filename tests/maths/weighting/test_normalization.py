"""No negative weights (Eq. 7), sums over the batch (Eq. 8), and the three parts of a pixel."""

from __future__ import annotations

import math

import pytest
import torch
from maths_support import NoHostReads
from torch import Tensor

from nnunetv2_mlbseg.maths.weighting.normalization import NORMALIZATIONS, normalize_weights, normalized_parts


def maps(*rows: list[float]) -> tuple[Tensor, ...]:
    return tuple(torch.tensor(row).reshape(2, 1, -1) for row in rows)


def test_normalization_by_hand() -> None:
    """Imperfect: 1 and 3 remain, sum 4. Pseudo: 4 and 12 remain, sum 16. Together 20."""
    imperfect, pseudo = maps([1.0, -5.0, 0.0, 3.0], [4.0, 12.0, -1.0, 0.0])
    expected = {
        "sum": maps([0.25, 0.0, 0.0, 0.75], [0.25, 0.75, 0.0, 0.0]),
        "joint": maps([0.05, 0.0, 0.0, 0.15], [0.2, 0.6, 0.0, 0.0]),
        "accepted": maps([0.5, 0.0, 0.0, 0.5], [0.5, 0.5, 0.0, 0.0]),
    }
    for how, (wn, wp) in expected.items():
        ours = normalize_weights(imperfect, pseudo, how)
        torch.testing.assert_close(ours[0], wn)
        torch.testing.assert_close(ours[1], wp)


def test_the_epsilon_of_equation_8_is_in_the_denominator() -> None:
    imperfect, pseudo = maps([1.0, 0.0], [2.0, 0.0])
    wn, wp = normalize_weights(imperfect, pseudo, "sum", eps=1.0)
    assert wn.sum() == pytest.approx(1 / 2) and wp.sum() == pytest.approx(2 / 3)
    wn, wp = normalize_weights(imperfect, pseudo, "joint", eps=1.0)
    assert (wn.sum() + wp.sum()).item() == pytest.approx(3 / 4)


@pytest.mark.parametrize("how", ["sum", "joint", "accepted"])
def test_maps_without_a_positive_weight_stay_zero(how: str) -> None:
    wn, wp = normalize_weights(*maps([-1.0, 0.0], [0.0, 0.0]), how)
    assert (wn == 0).all() and (wp == 0).all()


@pytest.mark.parametrize("how", ["sum", "joint", "accepted"])
def test_weights_that_are_not_finite_count_as_zero(how: str) -> None:
    bad = [math.nan, math.inf, -math.inf, 2.0]
    wn, wp = normalize_weights(*maps(bad, [1.0, 1.0, 0.0, 0.0]), how)
    assert torch.isfinite(wn).all() and torch.isfinite(wp).all()
    assert (wn.flatten()[:3] == 0).all() and wn.flatten()[3] > 0


def test_half_precision_weights_do_not_overflow_their_sum() -> None:
    large = torch.full((1, 64, 64), 1000.0, dtype=torch.float16)
    wn, _ = normalize_weights(large, large, "sum")
    assert wn.sum().item() == pytest.approx(1.0, rel=1e-5)


def test_normalization_does_not_depend_on_the_step_sizes() -> None:
    raw = torch.randn(2, 2, 8, 8, dtype=torch.float64)
    for how in ("sum", "joint", "accepted"):
        once = normalize_weights(raw[0], raw[1], how, eps=0.0)
        scaled = normalize_weights(0.005 * 7 * raw[0], 0.005 * 7 * raw[1], how, eps=0.0)
        torch.testing.assert_close(once, scaled)


def test_an_unknown_normalization_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown normalization 'mean', expected one of sum, joint, accepted"):
        normalize_weights(*maps([1.0, 1.0], [1.0, 1.0]), "mean")


@pytest.mark.parametrize("how", ["joint", "sum"])
def test_normalised_parts(how: str) -> None:
    """Three pixels: a dispute, agreement, no label. Of 2 in all: 0.25 + 0.4, 0.75 + 0.4, and 0.2 for the rival."""
    part_n, part_p = torch.tensor([[0.25, 0.4, 0.0]]), torch.tensor([[0.75, 0.4, 0.0]])
    n, p, r = normalized_parts(part_n, part_p, how)
    scale_n, scale_p = (2, 2) if how == "joint" else (0.65, 1.35)
    torch.testing.assert_close(n, part_n / scale_n)
    torch.testing.assert_close(p, part_p / scale_p)
    torch.testing.assert_close(r, torch.tensor([[0.0, 0.2, 0.0]]) / scale_p)


def test_no_value_is_read_on_the_host() -> None:
    imperfect, pseudo = maps([1.0, -5.0, 0.0, 3.0], [4.0, 12.0, -1.0, 0.0])
    with NoHostReads() as watched:
        for how in NORMALIZATIONS:
            normalize_weights(imperfect, pseudo, how)
            normalized_parts(imperfect.clamp(0, 1) / 2, pseudo.clamp(0, 1) / 2, how)
    assert watched.operations
