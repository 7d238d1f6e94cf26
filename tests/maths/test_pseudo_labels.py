"""The ensemble of the views and its argmax (Eq. 3 and 10)."""

from __future__ import annotations

import torch
from maths_support import NoHostReads

from nnunetv2_mlbseg.maths.pseudo_labels import ensemble_probabilities, pseudo_labels


def test_full_coverage_is_the_mean_of_equation_10() -> None:
    aligned = torch.rand(5, 2, 3, 4, 6, dtype=torch.float64)
    expected = sum(aligned[q] for q in range(5)) / 5
    torch.testing.assert_close(ensemble_probabilities(aligned, torch.ones(5, 2, 4, 6, dtype=torch.bool)), expected)


def test_a_view_has_no_vote_where_it_does_not_look() -> None:
    """Foreground 0.9, 0.3, 0.6 at two pixels; the last two views do not see pixel 1: 0.6 and 0.9."""
    foreground = torch.tensor([[0.9, 0.9], [0.3, 0.0], [0.6, 0.0]])
    aligned = torch.stack([1 - foreground, foreground], dim=1)[:, None, :, None, :]
    covered = torch.tensor([[True, True], [True, False], [True, False]])[:, None, None, :]
    expected = torch.tensor([[0.4, 0.1], [0.6, 0.9]])[None, :, None, :]
    torch.testing.assert_close(ensemble_probabilities(aligned, covered), expected)


def test_what_a_view_does_not_cover_cannot_disturb() -> None:
    aligned = torch.full((2, 1, 2, 1, 1), 0.5)
    aligned[1] = float("nan")
    covered = torch.tensor([True, False]).reshape(2, 1, 1, 1)
    assert torch.equal(ensemble_probabilities(aligned, covered), torch.full((1, 2, 1, 1), 0.5))


def test_a_pixel_without_any_view_is_zero() -> None:
    uncovered = torch.zeros(2, 1, 3, 3, dtype=torch.bool)
    assert (ensemble_probabilities(torch.rand(2, 1, 2, 3, 3), uncovered) == 0).all()


def test_half_precision_is_averaged_in_float32() -> None:
    aligned = torch.rand(4, 1, 2, 3, 3).half()
    covered = torch.ones(4, 1, 3, 3, dtype=torch.bool)
    ensemble = ensemble_probabilities(aligned, covered)
    assert ensemble.dtype == torch.float32
    assert torch.equal(ensemble, ensemble_probabilities(aligned.float(), covered))


def test_the_pseudo_label_is_the_most_probable_class() -> None:
    probabilities = torch.tensor([[0.2, 0.5, 0.1], [0.7, 0.3, 0.2], [0.1, 0.2, 0.7]])[None, :, None, :]
    labels = pseudo_labels(probabilities)
    assert labels.dtype == torch.int64
    assert labels.tolist() == [[[1, 0, 2]]]


def test_no_gradient_flows_through_a_pseudo_label() -> None:
    aligned = torch.rand(3, 1, 2, 4, 4, requires_grad=True)
    ensemble = ensemble_probabilities(aligned, torch.ones(3, 1, 4, 4, dtype=torch.bool))
    assert ensemble.requires_grad
    labels = pseudo_labels(ensemble)
    assert not labels.requires_grad and labels.grad_fn is None


def test_no_value_is_read_on_the_host() -> None:
    with NoHostReads() as watched:
        pseudo_labels(ensemble_probabilities(torch.rand(3, 1, 2, 4, 4), torch.ones(3, 1, 4, 4, dtype=torch.bool)))
    assert watched.operations
