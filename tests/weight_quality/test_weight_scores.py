"""Weights against true labels: by hand, and AUROC as the share of pairs in the right order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nnunetv2_mlbseg.maths.labels import WeightedLabels
from nnunetv2_mlbseg.weight_quality.scores import LabelQuality, auroc, judge, summarize


def literal_auroc(wrong: np.ndarray, score: np.ndarray) -> float:
    """Over all pairs of a wrong and a right pixel: 1 where the wrong one scores higher, 1/2 for a tie."""
    pairs = score[wrong][:, None] - score[~wrong][None]
    return float(((pairs > 0) + 0.5 * (pairs == 0)).mean())


def test_auroc_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(0)
    for digits in (0, 3):  # many ties, none
        wrong, score = rng.random(200) < 0.3, rng.normal(size=200).round(digits).astype(np.float32)
        assert auroc(wrong, score) == pytest.approx(literal_auroc(wrong, score), abs=1e-12)
    assert auroc(np.array([True, False]), np.array([1.0, 0.0])) == 1
    assert auroc(np.array([True, False]), np.array([1.0, 1.0])) == 0.5


@pytest.mark.parametrize("wrong", [[True, True], [False, False], []])
def test_auroc_of_one_class_is_undefined(wrong):
    assert auroc(np.array(wrong, bool), np.zeros(len(wrong))) is None


def _quality() -> LabelQuality:
    """Four pixels, the last one without a label. Predictions 0, 0, 1; labels 0, 1, 1; truth 0, 0, 1."""
    logits = torch.tensor([[[[2.0, 2.0, 0.0, 0.0]], [[0.0, 0.0, 3.0, 0.0]]]])
    labels, truth = torch.tensor([[[0, 1, 1, -1]]]), torch.tensor([[[0, 0, 1, 1]]])
    raw, weight = torch.tensor([[[0.5, -2.0, 4.0, 9.0]]]), torch.tensor([[[0.25, 0.0, 0.75, 0.0]]])
    return LabelQuality.of(logits, labels, truth, raw, weight)


def test_quality_by_hand():
    found = summarize([_quality()])
    everywhere, disputed = found["all"], found["disputed"]
    assert (everywhere["pixels"], everywhere["share_wrong"]) == (3, pytest.approx(1 / 3))
    assert everywhere["auroc_raw_weight"] == 1 and everywhere["auroc_raw_weight_by_batch"] == [1.0]
    assert everywhere["auroc_weight"] == 1 and everywhere["auroc_doubt"] == 1
    assert (everywhere["raw_weight_wrong"], everywhere["raw_weight_right"]) == (-2.0, 2.25)
    assert (everywhere["relative_weight_wrong"], everywhere["relative_weight_right"]) == (0.0, pytest.approx(1.5))
    assert (everywhere["share_with_weight_wrong"], everywhere["share_with_weight_right"]) == (0.0, 1.0)
    assert (disputed["pixels"], disputed["share_wrong"], disputed["auroc_raw_weight"]) == (1, 1.0, None)
    assert disputed["relative_weight_right"] is None and disputed["raw_weight_right"] is None


def test_batches_are_pooled_and_told_apart():
    first = _quality()
    second = LabelQuality(~first.wrong, first.disputed, first.raw, first.weight, first.doubt)
    found = summarize([first, second])["all"]
    assert found["pixels"] == 6 and found["auroc_raw_weight_by_batch"] == [1.0, 0.0]
    assert found["auroc_raw_weight"] == literal_auroc(
        np.concatenate([first.wrong, second.wrong]), -np.concatenate([first.raw, second.raw])
    )


def test_both_labels_of_a_batch_are_judged_by_their_own_weights():
    truth = torch.randint(0, 3, (2, 12, 12), generator=torch.Generator().manual_seed(0))
    wrong, maps = (truth + 1) % 3, torch.rand(4, 2, 12, 12)
    found = judge(torch.randn(2, 3, 12, 12), WeightedLabels(truth, wrong, *maps), truth)
    assert not found["imperfect"].wrong.any() and found["pseudo"].wrong.all()
    for label, raw, weight in (("imperfect", maps[0], maps[2]), ("pseudo", maps[1], maps[3])):
        assert (found[label].raw == raw.flatten().numpy()).all()
        assert (found[label].weight == weight.flatten().numpy()).all()
