"""Measuring an audit by true labels: against scikit-learn, cleanlab and hand values."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from cleanlab.segmentation.rank import get_label_quality_scores
from sklearn.metrics import average_precision_score, roc_auc_score

from nnunetv2_mlbseg.audit.bayes import posterior, suspicion
from nnunetv2_mlbseg.audit.label_files import Label
from nnunetv2_mlbseg.audit.network_opinion import Opinion
from nnunetv2_mlbseg.audit.one_case import Settings, Witnesses, audit_case
from nnunetv2_mlbseg.audit.truth import check_unseen
from nnunetv2_mlbseg.audit.truth_scores import (
    Detection,
    Measurement,
    rank_correlation,
    softmin,
    softmin_slices,
    true_confusion,
    worst_found,
)
from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.evaluation.metrics import mean_dice
from nnunetv2_mlbseg.maths.weighting.depth import depth_levels
from noise_synthesis.safe_io.errors import InputError


def test_areas_and_precisions_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    wrong = rng.random(5000) < 0.1
    score = np.round(1 / (1 + np.exp(-rng.normal(0, 2, 5000) - 3 * wrong)), 2)  # with ties, and with 0 and 1
    detection = Detection()
    for part in np.array_split(np.arange(5000), 3):
        detection.add_(score[part], wrong[part])
    assert detection.auroc() == pytest.approx(roc_auc_score(wrong, score), abs=1e-4)
    assert detection.average_precision() == pytest.approx(average_precision_score(wrong, score), abs=1e-3)


def test_without_wrong_or_right_voxels_there_is_no_area():
    detection = Detection()
    detection.add_(np.array([0.0, 0.5, 1.0]), np.zeros(3, bool))
    assert detection.auroc() is None and detection.average_precision() is None


def test_dice_over_classes_leaves_out_what_is_unknown():
    truth = np.array([[[0, 1, 1, 2, -1]]])
    labels = np.array([[[0, 1, 0, 2, 1]]])
    assert mean_dice(labels, truth, 3) == pytest.approx((2 / 3 + 1) / 2)
    assert mean_dice(labels * 0, truth * 0, 3) == 1.0


def test_ranks():
    true_dice = np.arange(24) / 24
    assert rank_correlation(true_dice**3, true_dice) == pytest.approx(1)
    assert rank_correlation(true_dice[:2], true_dice[:2]) is None
    assert rank_correlation(true_dice * 0, true_dice) is None
    assert worst_found(true_dice, true_dice) == 1
    assert worst_found(np.roll(true_dice, 5), true_dice) == 0.5
    assert worst_found(true_dice[:19], true_dice[:19]) is None


def synthetic_audit(seed: int, wrong_rows: int):
    """A square whose label lacks some rows; the network sees the truth, a little blurred by noise."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((2, 20, 20), np.int64)
    truth[:, 5:15, 5:15] = 1
    given = truth.copy()
    given[:, 5 : 5 + wrong_rows] = 0
    logit = 6 * (truth - 0.5) + rng.normal(0, 1, truth.shape)
    foreground = torch.from_numpy(1 / (1 + np.exp(-logit))).float()
    image = sitk.GetImageFromArray(given.astype(np.uint8))
    label = Label(None, image, torch.from_numpy(given))
    probabilities = torch.stack([1 - foreground, foreground])
    opinion = Opinion(probabilities, probabilities)
    audited = audit_case(
        f"case{seed}", opinion, label, Witnesses(None), Settings(0.8, 0.0), 0, depth_levels(label.classes)
    )
    return audited, torch.from_numpy(truth)


def measured(rows):
    measurement = Measurement()
    for seed, wrong_rows in enumerate(rows):
        measurement.add_(*synthetic_audit(seed, wrong_rows), axis=0)
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
    label = Label(None, sitk.GetImageFromArray(given.numpy().astype(np.uint8)), given)
    opinion, levels = Opinion(probabilities, probabilities), torch.zeros_like(given)
    audited = audit_case("a", opinion, label, Witnesses(None), Settings(0.5, 0.0), 0, levels)
    measurement = Measurement()
    measurement.add_(audited, truth, axis=0)
    found = measurement.summary()["knowledge"]
    assert found["network"] == pytest.approx(2 * 2 / (3 + 4))  # two of four, one too many
    # M is [5, 1] / 6 and [3, 3] / 6: label 1 makes odds of 0.4 / 0.6 * 3 = 2, label 0 makes 0.6 / 0.4 * 3 / 5 = 0.9
    assert found["bayes_true_confusion"] == pytest.approx(2 * 2 / (2 + 4))
    assert found["bayes"] == pytest.approx(audited_dice(audited, truth))


def audited_dice(audited, truth) -> float:
    seen = (audited.probabilities, audited.label.classes, audited.levels)
    likely = posterior(*seen, audited.confusion, audited.common).argmax(dim=0)
    return mean_dice(likely.numpy(), truth.numpy(), 2)


def test_pixel_and_image_scores_of_the_network_alone_are_cleanlabs():
    """cleanlab scores a pixel by the probability of its given label: 1 - suspicion by the network alone."""
    audits = [synthetic_audit(seed, rows)[0] for seed, rows in enumerate([0, 2, 5])]
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
        audited, truth = synthetic_audit(seed, rows)
        measurement.add_(audited, truth, 0, other=audited.probabilities)
    measurement.add_right_(synthetic_audit(7, 0)[0])
    measurement.add_right_(synthetic_audit(8, 4)[0])
    found = measurement.summary()
    assert found["detectors"]["nnUNetTrainerOther"] == found["detectors"]["network"]
    for name in ("softmin", "softmin_slices"):
        assert found["rankings"][f"{name} nnUNetTrainerOther"] == found["rankings"][name]
    changes = found["right_labels"]["cases"]
    assert -0.02 < changes["case7"] <= 0 and changes["case8"] < -0.05
    assert found["right_labels"]["worst_change"] == changes["case8"]


ROLES = {"clean": ("c0",), "noisy": (), "unlabeled": ("n0", "n1"), "validation": ("v0",)}


def compared(labels: str = "clean", names: tuple[str, ...] = ("background", "disc", "ignore"), **roles):
    """What a checkpoint of another training says, whose dataset had other roles."""
    return {
        "mlbseg": {"roles": {**ROLES, **roles}, "config": {"training_labels": labels}},
        "init_args": {"dataset_json": {"labels": {name: value for value, name in enumerate(names)}}},
    }


AUDITED = SimpleNamespace(
    roles=FoldRoles(("c0",), ("n0", "n1"), (), ("v0",)), dataset_json={"labels": {"background": 0, "disc": 1}}
)


def test_a_network_is_out_of_sample_when_it_trained_on_no_audited_case():
    check_unseen(compared(), AUDITED, Path("other.pth"))
    check_unseen(compared("bootstrapped", unlabeled=("u0",)), AUDITED, Path("other.pth"))


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (
            compared(clean=("c0", "n1")),
            r"other.pth: trained on 1 of the 2 audited cases \(n1\), expected",
        ),
        (compared("given", noisy=("n0",)), r"trained on 1 of the 2 audited cases \(n0\)"),
        (compared("bootstrapped"), r"trained on 2 of the 2 audited cases \(n0, n1\)"),
        (compared(names=("background", "square")), r"labels {'background': 0, 'square': 1}, expected {.*'disc': 1}"),
    ],
)
def test_a_network_that_trained_on_audited_cases_or_for_other_classes_is_refused(found, message):
    with pytest.raises(InputError, match=message):
        check_unseen(found, AUDITED, Path("other.pth"))
