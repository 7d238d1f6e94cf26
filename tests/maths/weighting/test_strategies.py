"""The strategies that weigh pixels."""

from __future__ import annotations

import inspect

import pytest
import torch
from maths_support import NoHostReads

from nnunetv2_mlbseg.maths.losses import IGNORE
from nnunetv2_mlbseg.maths.tangents.forward import label_weights, normalize_weights
from nnunetv2_mlbseg.maths.weighting.strategies import NEEDS_TANGENTS, TIED, WEIGHTING_NAMES, WEIGHTINGS, meta_weights

LOGITS, TANGENTS = torch.randn(2, 2, 3, 6, 5, generator=torch.Generator().manual_seed(0))
IMPERFECT = torch.randint(-1, 3, (2, 6, 5), generator=torch.Generator().manual_seed(1))
PSEUDO = torch.randint(3, (2, 6, 5), generator=torch.Generator().manual_seed(2))


def weigh_and_normalize(name: str, how: str, imperfect: torch.Tensor = IMPERFECT) -> tuple[torch.Tensor, torch.Tensor]:
    return normalize_weights(*WEIGHTINGS[name](LOGITS, TANGENTS, imperfect, PSEUDO), how)


def test_raw_meta_weights_are_equations_4_to_6() -> None:
    """Raw weight of label y from the definition: the derivative of -log softmax_y along the tangent, pixel by pixel."""
    for ours, labels in zip(meta_weights(LOGITS, TANGENTS, IMPERFECT, PSEUDO), (IMPERFECT, PSEUDO), strict=True):
        one_hot = torch.nn.functional.one_hot(labels.clamp_min(0), 3).movedim(-1, 1)
        derivative = ((LOGITS.softmax(1) - one_hot) * TANGENTS).sum(1)
        torch.testing.assert_close(ours, derivative * (labels >= 0))


def test_meta_weights_sum_to_one_and_are_not_negative() -> None:
    for weights in weigh_and_normalize("meta", "sum"):
        assert (weights >= 0).all() and weights.sum().item() == pytest.approx(1)
    wn, _ = weigh_and_normalize("meta", "sum")
    assert (wn[IMPERFECT < 0] == 0).all()
    assert torch.equal(wn > 0, label_weights(LOGITS, TANGENTS, IMPERFECT) > 0)


def test_meta_weights_need_tangents() -> None:
    with pytest.raises(ValueError, match="need the tangents"):
        meta_weights(LOGITS, None, IMPERFECT, PSEUDO)


@pytest.mark.parametrize("how", ["sum", "accepted"])
def test_uniform_weights_are_one_over_the_labelled_pixels(how: str) -> None:
    labelled = IMPERFECT >= 0
    wn, wp = weigh_and_normalize("uniform", how)
    torch.testing.assert_close(wn, labelled.float() / labelled.sum())
    torch.testing.assert_close(wp, torch.full((2, 6, 5), 1 / 60))


def test_uniform_weights_together_sum_to_one_when_joint() -> None:
    wn, wp = weigh_and_normalize("uniform", "joint")
    expected = 1 / (60 + int((IMPERFECT >= 0).sum()))
    torch.testing.assert_close(wp, torch.full((2, 6, 5), expected))
    torch.testing.assert_close(wn, (IMPERFECT >= 0) * expected)


def test_a_batch_without_imperfect_labels_still_has_pseudo_label_weights() -> None:
    for name in WEIGHTINGS:
        wn, wp = weigh_and_normalize(name, "sum", torch.full_like(IMPERFECT, IGNORE))
        assert (wn == 0).all() and wp.sum().item() == pytest.approx(1)


def test_the_registry_is_consistent() -> None:
    assert set(WEIGHTING_NAMES) >= NEEDS_TANGENTS and set(WEIGHTING_NAMES) == {TIED, *WEIGHTINGS}
    parameters = {tuple(inspect.signature(weigh).parameters) for weigh in WEIGHTINGS.values()}
    assert parameters == {("logits", "tangents", "imperfect_labels", "pseudo_labels")}
    for name, weigh in WEIGHTINGS.items():
        assert name in NEEDS_TANGENTS or weigh(LOGITS, None, IMPERFECT, PSEUDO)


def test_no_value_is_read_on_the_host() -> None:
    with NoHostReads() as watched:
        for name in WEIGHTINGS:
            weigh_and_normalize(name, "sum")
    assert watched.operations
