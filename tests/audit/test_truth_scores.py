"""Measuring an audit by true labels: against cleanlab and hand values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from audit_support import one_square, reading
from cleanlab.segmentation.rank import get_label_quality_scores

from nnunetv2_mlbseg.audit.bayes import posterior, suspicion
from nnunetv2_mlbseg.audit.common_knowledge import factors
from nnunetv2_mlbseg.audit.label_files import Label
from nnunetv2_mlbseg.audit.network_opinion import Opinion
from nnunetv2_mlbseg.audit.one_case import Thresholds, audit_case
from nnunetv2_mlbseg.audit.truth_scores import Measurement, softmin, softmin_slices, true_confusion
from nnunetv2_mlbseg.audit.witnesses import Witnesses
from nnunetv2_mlbseg.evaluation.metrics import mean_dice


def test_dice_over_classes_leaves_out_what_is_unknown():
    truth = np.array([[[0, 1, 1, 2, -1]]])
    labels = np.array([[[0, 1, 0, 2, 1]]])
    assert mean_dice(labels, truth, 3) == pytest.approx((2 / 3 + 1) / 2)
    assert mean_dice(labels * 0, truth * 0, 3) == 1.0


def measured(rows):
    measurement = Measurement()
    for seed, wrong_rows in enumerate(rows):
        measurement.add_(*one_square(seed, wrong_rows), axis=0)
    return measurement.summary()


def test_a_good_network_finds_ranks_and_corrects_the_errors():
    found = measured([0, 1, 2, 3, 4, 5])
    posterior, plain = found["detectors"]["posterior"], found["detectors"]["disagreement"]
    assert posterior["auroc"] > 0.99 and posterior["average_precision"] > 0.9
    assert posterior["auroc"] >= plain["auroc"]
    assert found["rankings"]["posterior"] == {"spearman": pytest.approx(1), "worst_found": None}
    assert found["correction"]["mean_dice_after"] > found["correction"]["mean_dice_before"]
    assert found["correction"]["share_improved"] >= 5 / 6
    assert found["cases"][3]["dice"] == pytest.approx(2 * 70 / 170)


def test_the_true_confusion_counts_classes_by_the_truth():
    truth, given = torch.tensor([0, 0, 0, 1, 1, -1, 1]), torch.tensor([0, 0, 1, 1, 0, 1, -1])
    levels = torch.tensor([0, 2, 1, 1, 0, 0, 0])
    found = true_confusion(truth, given, levels, 2)
    classes, depths = 2, found.shape[2]
    assert (found.sum((1, 2)) - 1).abs().max() < 1e-6
    # Three voxels of class 0 and two of class 1, and one more of every label at every depth.
    counts = found * torch.tensor([3 + classes * depths, 2 + classes * depths]).view(2, 1, 1) - 1
    expected = torch.zeros(2, 2, depths)
    for t, n, d in ((0, 0, 0), (0, 0, 2), (0, 1, 1), (1, 1, 1), (1, 0, 0)):
        expected[t, n, d] = 1
    torch.testing.assert_close(counts, expected)


def test_what_labels_know_is_seen_where_the_network_is_in_doubt():
    """An undecided network and a label that misses foreground but never invents it: what it marks is foreground."""
    truth = torch.tensor([[[1, 1, 1, 1, 0, 0, 0, 0]]])
    given = torch.tensor([[[1, 1, 0, 0, 0, 0, 0, 0]]])
    foreground = torch.tensor([[[0.4, 0.4, 0.6, 0.6, 0.1, 0.1, 0.1, 0.6]]])
    probabilities = torch.stack([1 - foreground, foreground])
    label = Label(None, reading(given.numpy()), given)
    opinion, levels = Opinion(probabilities, probabilities), torch.zeros_like(given)[None]
    audited = audit_case("a", opinion, label, Witnesses(None), Thresholds(0.5, 0.0), 0, levels)
    measurement = Measurement()
    measurement.add_(audited, truth, axis=0)
    found = measurement.summary()["knowledge"]
    assert found["network"] == pytest.approx(2 * 2 / (3 + 4))  # two of four, one too many
    # M is [5, 1] / 6 and [3, 3] / 6: label 1 makes odds of 0.4 / 0.6 * 3 = 2, label 0 makes 0.6 / 0.4 * 3 / 5 = 0.9
    assert found["bayes_true_confusion"] == pytest.approx(2 * 2 / (2 + 4))
    assert found["bayes"] == pytest.approx(audited_dice(audited, truth))


def audited_dice(audited, truth) -> float:
    seen = (audited.probabilities, audited.label.classes, audited.levels[0])
    common = factors(audited.probabilities, audited.common[0])
    likely = posterior(*seen, audited.confusion[0], common).argmax(dim=0)
    return mean_dice(likely.numpy(), truth.numpy(), 2)


def test_pixel_and_image_scores_of_the_network_alone_are_cleanlabs():
    """cleanlab scores a pixel by the probability of its given label: 1 - suspicion by the network alone."""
    audits = [one_square(seed, rows)[0] for seed, rows in enumerate([0, 2, 5])]
    labels = np.concatenate([audited.label.classes.numpy() for audited in audits])
    probabilities = np.concatenate([audited.probabilities.movedim(1, 0).numpy() for audited in audits])
    images, pixels = get_label_quality_scores(labels, probabilities, n_jobs=1, verbose=False)
    plain = [1 - suspicion(audited.probabilities, audited.label.classes) for audited in audits]
    own = np.concatenate([quality.numpy() for quality in plain])
    np.testing.assert_allclose(np.stack(pixels), own, atol=2e-4)
    np.testing.assert_allclose(images, [softmin(one) for one in pixels], atol=1e-6)
    by_case = [
        softmin_slices(quality, audited.label.classes, 0) for quality, audited in zip(plain, audits, strict=True)
    ]
    np.testing.assert_allclose(by_case, images.reshape(3, 2).mean(1), atol=1e-5)


def test_another_network_and_labels_that_are_right_are_measured_beside():
    measurement = Measurement(other="nnUNetTrainerOther")
    for seed, rows in enumerate([1, 2, 3, 5]):
        audited, truth = one_square(seed, rows)
        measurement.add_(audited, truth, 0, other=audited.probabilities)
    measurement.add_right_(one_square(7, 0)[0])
    measurement.add_right_(one_square(8, 4)[0])
    found = measurement.summary()
    assert found["detectors"]["nnUNetTrainerOther"] == found["detectors"]["network"]
    for name in ("softmin", "softmin_slices"):
        assert found["rankings"][f"{name} nnUNetTrainerOther"] == found["rankings"][name]
    changes = found["right_labels"]["cases"]
    assert -0.02 < changes["case7"] <= 0 and changes["case8"] < -0.05
    assert found["right_labels"]["worst_change"] == changes["case8"]
