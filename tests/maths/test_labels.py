"""Labels as class indices: nnU-Net's targets, those that count, those at other scales."""

from __future__ import annotations

import pytest
import torch
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import DownsampleSegForDSTransform
from maths_support import NoHostReads

from nnunetv2_mlbseg.maths.labels import IGNORE, WeightedLabels, as_labels, labels_that_count, resize_labels

LABELS = torch.tensor([[[0, 1], [IGNORE, -100]]])


def test_as_labels_turns_the_ignore_label_negative_and_drops_the_channel() -> None:
    target = torch.tensor([[[[0.0, 1.0], [2.0, 1.0]]]])
    assert as_labels(target, 2).tolist() == [[[0, 1], [-1, 1]]]
    assert as_labels(target, None).tolist() == [[[0, 1], [2, 1]]]


def test_of_several_scales_the_finest_counts_and_other_labels_have_channels_of_their_own() -> None:
    target = torch.arange(8.0).view(1, 2, 2, 2)
    assert torch.equal(as_labels([target, target[..., :1]], None), torch.arange(4).view(1, 2, 2))
    assert torch.equal(as_labels(target, 5, channel=1), torch.tensor([[[4, IGNORE], [6, 7]]]))


def test_labels_that_do_not_count_are_ignored_everywhere() -> None:
    n, p = torch.randint(-1, 3, (2, 2, 4, 4), generator=torch.Generator().manual_seed(0))
    nothing = torch.full_like(n, IGNORE)
    for which, expected in {"both": (n, p), "imperfect": (n, nothing), "pseudo": (nothing, p)}.items():
        assert all(torch.equal(a, b) for a, b in zip(labels_that_count(n, p, which), expected, strict=True))
    with pytest.raises(ValueError, match="unknown choice of labels 'none', expected both, imperfect or pseudo"):
        labels_that_count(n, p, "none")


def test_weighted_labels_are_pairs_of_label_and_weight() -> None:
    """Six maps told apart by their values; a rival counts only together with its weight."""
    maps = [torch.full((1, 2), value) for value in range(8)]
    both = WeightedLabels(*maps[:6])
    assert [(int(n[0, 0]), int(w[0, 0])) for n, w in both.pairs()] == [(0, 4), (1, 5)]
    assert [(int(n[0, 0]), int(w[0, 0])) for n, w in WeightedLabels(*maps).pairs()] == [(0, 4), (1, 5), (6, 7)]
    assert len(WeightedLabels(*maps[:7]).pairs()) == 2


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
        resize_labels(LABELS, (2, 2))
        resize_labels(LABELS, (1, 1))
        as_labels(LABELS.unsqueeze(1), 1)
        labels_that_count(LABELS, LABELS, "pseudo")
    assert watched.operations
