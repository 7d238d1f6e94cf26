"""Cross-entropy per pixel, its weighted sum, labels at other scales."""

from __future__ import annotations

import math

import pytest
import torch
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import DownsampleSegForDSTransform
from maths_support import NoHostReads, literal_cross_entropy

from nnunetv2_mlbseg.maths.losses import IGNORE, pixel_cross_entropy, resize_labels, weighted_cross_entropy

# Softmax (1/4, 3/4) at each of four pixels, labelled 0, 1 and twice not at all.
LOGITS = torch.tensor([0.0, math.log(3)]).reshape(1, 2, 1, 1).repeat(1, 1, 2, 2)
LABELS = torch.tensor([[[0, 1], [IGNORE, -100]]])


def test_cross_entropy_by_hand() -> None:
    """-log(1/4) = log 4 and -log(3/4) = log(4/3); nothing where the label is negative."""
    expected = torch.tensor([[[math.log(4), math.log(4 / 3)], [0.0, 0.0]]])
    torch.testing.assert_close(pixel_cross_entropy(LOGITS, LABELS), expected)


@pytest.mark.parametrize("shape", [(5, 7), (3, 4, 5)])
def test_cross_entropy_equals_the_definition(shape: tuple[int, ...]) -> None:
    logits = torch.randn(2, 4, *shape, dtype=torch.float64)
    labels = torch.randint(-1, 4, (2, *shape))
    torch.testing.assert_close(pixel_cross_entropy(logits, labels), literal_cross_entropy(logits, labels))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    logits = (100 * torch.randn(1, 3, 8, 8)).to(dtype)
    labels = torch.randint(3, (1, 8, 8))
    loss = pixel_cross_entropy(logits, labels)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, pixel_cross_entropy(logits.float(), labels))


def test_weighted_sum_by_hand() -> None:
    """2 log 4 + 8 log(4/3); the weights 5 and 7 of ignored pixels count nothing."""
    weights = torch.tensor([[[2.0, 8.0], [5.0, 7.0]]])
    expected = 2 * math.log(4) + 8 * math.log(4 / 3)
    assert weighted_cross_entropy(LOGITS, LABELS, weights).item() == pytest.approx(expected, rel=1e-6)


def test_gradient_reaches_labelled_pixels_only_and_never_the_weights() -> None:
    logits = LOGITS.clone().requires_grad_()
    weights = torch.tensor([[[1.0, 0.0], [1.0, 1.0]]], requires_grad=True)
    weighted_cross_entropy(logits, LABELS, weights).backward()
    assert weights.grad is None
    assert logits.grad is not None
    reached = logits.grad.abs().sum(dim=1) > 0
    assert reached.tolist() == [[[True, False], [False, False]]]


def test_zero_weights_remove_the_term() -> None:
    logits = LOGITS.clone().requires_grad_()
    loss = weighted_cross_entropy(logits, LABELS, torch.zeros(1, 2, 2))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None and (logits.grad == 0).all()


def test_gradcheck() -> None:
    logits = torch.randn(2, 3, 4, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(-1, 3, (2, 4, 3))
    weights = torch.rand(2, 4, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda z: pixel_cross_entropy(z, labels), logits)
    assert torch.autograd.gradcheck(lambda z: weighted_cross_entropy(z, labels, weights), logits)


@pytest.mark.parametrize(("shape", "scale"), [((16, 12), 0.5), ((15, 13), 0.25), ((9, 8, 10), (1, 0.5, 0.5))])
def test_resized_labels_equal_those_of_nnunet(shape: tuple[int, ...], scale: float | tuple[float, ...]) -> None:
    labels = torch.randint(-1, 6, (3, *shape))
    expected = DownsampleSegForDSTransform([scale])._apply_to_segmentation(labels)[0]
    assert torch.equal(resize_labels(labels, expected.shape[1:]), expected)


def test_labels_of_the_right_size_are_returned_as_they_are() -> None:
    labels = torch.randint(3, (2, 8, 8))
    assert resize_labels(labels, (8, 8)) is labels


def test_no_value_is_read_on_the_host() -> None:
    with NoHostReads() as watched:
        weighted_cross_entropy(LOGITS, resize_labels(LABELS, (2, 2)), torch.ones(1, 2, 2))
        resize_labels(LABELS, (1, 1))
    assert watched.operations
