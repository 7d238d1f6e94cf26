"""The ensemble of the views and its argmax (Eq. 3 and 10)."""

from __future__ import annotations

import torch
from maths_support import NoHostReads
from torch import Tensor

from nnunetv2_mlbseg.maths.pseudo_labels import ensemble_of_views, ensemble_probabilities, pseudo_labels
from nnunetv2_mlbseg.maths.views import Views, draw_views


def drawn(*names: str, batch: int = 2) -> Views:
    return draw_views(names, batch, 2, torch.Generator().manual_seed(0))


def in_views(probabilities: Tensor, views: Views) -> Tensor:
    """Eq. 10: average over the views in the image's frame, take the most probable class, show it in every view."""
    return views.apply_labels(pseudo_labels(ensemble_of_views(probabilities, views)))


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


def test_without_views_the_pseudo_label_is_the_argmax() -> None:
    probabilities = torch.rand(2, 3, 8, 8).softmax(1)
    assert torch.equal(in_views(probabilities, drawn()), probabilities.argmax(1))


def test_views_outvote_the_original() -> None:
    """A flip and the original disagree at one pixel; the more confident of the two wins in both frames."""
    views = drawn("flip", batch=1)
    sure = torch.full((1, 2, 4, 4), 0.5)
    sure[:, 0], sure[:, 1] = 0.9, 0.1
    original = sure.clone()
    original[0, :, 1, 1] = torch.tensor([0.4, 0.6])
    labels = in_views(torch.cat([original, views.apply(sure)[1:]]), views)
    assert labels.tolist() == [[[0] * 4] * 4] * 2


def test_pseudo_labels_beyond_the_image_are_ignored_in_a_zoomed_out_view() -> None:
    labels = in_views(torch.rand(4, 2, 16, 16), drawn("zoom_out"))
    assert (labels[:2] >= 0).all()
    assert (labels[2:, 0, :] < 0).all() and (labels[2:, 8, 8] >= 0).all()


def test_no_gradient_flows_through_the_ensemble_of_views() -> None:
    probabilities = torch.rand(4, 2, 8, 8, requires_grad=True)
    assert not ensemble_of_views(probabilities, drawn("flip")).requires_grad


def test_no_value_is_read_on_the_host() -> None:
    with NoHostReads() as watched:
        in_views(torch.rand(4, 2, 8, 8), drawn("flip"))
        pseudo_labels(ensemble_probabilities(torch.rand(3, 1, 2, 4, 4), torch.ones(3, 1, 4, 4, dtype=torch.bool)))
    assert watched.operations
