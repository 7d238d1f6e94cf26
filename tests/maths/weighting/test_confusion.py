"""How labels err: by depth, of all cases and of each."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from maths_support import NoHostReads, confusion_record, imperfect_labels, in_two_processes, labels_of_images

from nnunetv2_mlbseg.maths.labels import IGNORE, ImperfectLabels
from nnunetv2_mlbseg.maths.tensors import Total
from nnunetv2_mlbseg.maths.weighting.confusion import CASE_DECAY, ConfusionRecord
from nnunetv2_mlbseg.maths.weighting.depth import LEVELS
from nnunetv2_mlbseg.maths.weighting.testimony import LEAST_CONFUSION, belief, evidence
from nnunetv2_mlbseg.maths.weighting.told_apart import image_counts


def random_batch(images: int = 3, classes: int = 3, seed: int = 0) -> tuple[ImperfectLabels, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(-1, classes, (images, 6, 7), generator=generator)
    levels = torch.randint(LEVELS, labels.shape, generator=generator)
    e = torch.rand(images, classes, 6, 7, generator=generator)
    made = torch.zeros(images, dtype=torch.bool)
    return ImperfectLabels(labels, levels, made, torch.arange(images)), e / e.sum(1, keepdim=True)


def test_counts_are_sums_over_pixels() -> None:
    labels, e = random_batch()
    found = image_counts(e, labels.classes, labels.levels)
    expected = torch.zeros_like(found)
    for b in range(3):
        for y in range(6):
            for x in range(7):
                n, d = labels.classes[b, y, x], labels.levels[b, y, x]
                if n >= 0:
                    expected[b, :, n, d] += e[b, :, y, x]
    torch.testing.assert_close(found, expected)


def test_the_first_matrix_is_near_the_identity_and_the_same_at_every_depth() -> None:
    (matrix,) = ConfusionRecord.empty(2).matrix
    torch.testing.assert_close(matrix.sum(2), torch.tensor([[0.9, 0.1], [0.1, 0.9]]))
    torch.testing.assert_close(matrix, matrix[:, :, :1].expand(-1, -1, LEVELS))


def test_the_matrix_ends_at_the_counts() -> None:
    counts = torch.rand(3, 3, LEVELS, generator=torch.Generator().manual_seed(1)) * 1e6
    (found,) = confusion_record(counts.unsqueeze(0)).matrix
    torch.testing.assert_close(found, counts / counts.sum((1, 2), keepdim=True), atol=1e-5, rtol=1e-4)


def test_a_running_mean_of_all_and_the_last_sums_of_each_case() -> None:
    (one, e), (two, f) = random_batch(seed=0), random_batch(seed=1)
    two = replace(two, case=torch.tensor([2, 2, -1]))
    record = ConfusionRecord.empty(3, cases=4).followed(one, e, 0.75).followed(two, f, 0.75)
    first, second = (image_counts(p, labels.classes, labels.levels) for labels, p in ((one, e), (two, f)))
    torch.testing.assert_close(record.counts[0], 0.75 * 0.25 * first.sum(0) + 0.25 * second.sum(0))
    torch.testing.assert_close(record.cases[:2], first[:2])  # not seen again: no decay
    torch.testing.assert_close(record.cases[2], CASE_DECAY * first[2] + second[0] + second[1])
    assert not record.cases[3].any()


def test_generated_labels_are_neither_counted_nor_witnesses() -> None:
    labels, e = random_batch()
    labels = replace(labels, generated=torch.tensor([True, False, True]), case=torch.tensor([-1, 0, -1]))
    record = ConfusionRecord.empty(3, cases=1).followed(labels, e, 0.0)
    torch.testing.assert_close(record.counts[0], image_counts(e, labels.classes, labels.levels)[1])
    against = torch.zeros_like(labels.classes)
    found = evidence(record, labels, against)
    assert not found[[0, 2]].any() and found[1].any()


def test_a_case_is_drawn_towards_all_by_one_batch() -> None:
    """100 pixels of class 0 in a batch, a quarter labelled 1. One case has 300, all labelled 0; one was not seen."""
    counts, cases = torch.zeros(2, 2, LEVELS), torch.zeros(2, 2, 2, LEVELS)
    counts[0, 0, 0], counts[0, 1, 0], cases[1, 0, 0, 0] = 75, 25, 300
    record = confusion_record(counts.unsqueeze(0), cases)
    unseen, seen, no_case = record.of_cases(torch.tensor([0, 1, -1]))[:, 0].sum(2)
    torch.testing.assert_close(unseen, torch.tensor([0.75, 0.25]), atol=0.01, rtol=0)
    torch.testing.assert_close(no_case, unseen)
    torch.testing.assert_close(seen, torch.tensor([375.0, 25.0]) / 400, atol=0.002, rtol=0)


@pytest.mark.parametrize(
    ("table", "kappa"),
    [
        ([[45.0, 15.0], [25.0, 15.0]], (0.6 - 0.54) / (1 - 0.54)),  # agree on 60 %, by chance on 0.6 * 0.7 + 0.4 * 0.3
        ([[70.0, 0.0], [0.0, 30.0]], 1.0),
        ([[49.0, 21.0], [21.0, 9.0]], 0.0),  # as often as by chance
        ([[0.0, 70.0], [30.0, 0.0]], 0.0),  # less often: nothing in common either
    ],
)
def test_what_is_in_common_is_the_rarity_of_a_class_times_kappa_squared(table: list[list[float]], kappa: float) -> None:
    counts = 1e5 * torch.tensor(table).unsqueeze(2) * torch.full((LEVELS,), 1 / LEVELS)
    shares = torch.tensor(table).sum(1) / 100
    (found,) = confusion_record(counts.unsqueeze(0)).common
    torch.testing.assert_close(found, kappa**2 * shares.log(), atol=1e-5, rtol=1e-4)


def test_nothing_is_in_common_before_the_first_batch() -> None:
    assert not ConfusionRecord.empty(3).common.any()


def test_belief_is_bayes_rule_at_every_pixel() -> None:
    labels, e = random_batch()
    record = ConfusionRecord.empty(3, cases=3).followed(labels, e, 0.0)
    found = belief(record, labels, e)
    matrices, (common,) = record.of_cases(labels.case), record.common
    for b in range(3):
        for y in range(6):
            for x in range(7):
                n, d = labels.classes[b, y, x], labels.levels[b, y, x]
                if n >= 0:
                    said = matrices[b, :, n, d] + LEAST_CONFUSION / LEVELS
                    expected = e[b, :, y, x] * said * common.exp()
                    torch.testing.assert_close(found[b, :, y, x], expected / expected.sum())
    # The odds of two classes in it are those that the evidence adds to the network's.
    own, against = labels.classes.clamp_min(0), (labels.classes.clamp_min(0) + 1) % 3
    odds = [maps.gather(1, c.unsqueeze(1)).squeeze(1).log() for maps in (found, e) for c in (own, against)]
    found = evidence(record, labels, against)
    known = labels.classes >= 0
    torch.testing.assert_close((odds[0] - odds[1] - odds[2] + odds[3])[known], found[known])


@pytest.mark.parametrize(("noise", "largest"), [(0.0, 1.02), (3.0, 1.2)])
def test_structures_do_not_grow_while_a_network_learns_from_what_is_believed(
    noise: float, largest: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Discs, labels right or up to ``noise`` pixels too small or too large, a network that is unsure at the border.

    In every round it learns the mean of what is believed of the eight images, which look the same. With image and label
    taken for independent the discs grow by a quarter under right labels, and to twice their size under noisy ones.
    """
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")
    radius = ((y - 24) ** 2 + (x - 24) ** 2).sqrt()
    given = (radius < 9 + torch.linspace(-noise, noise, 8).view(8, 1, 1)).long()
    labels = imperfect_labels(given, torch.zeros(8, dtype=torch.bool), torch.arange(8))

    def final_size() -> float:
        inside = ((9 - radius) / 2).sigmoid()
        network, record = torch.stack([1 - inside, inside]).expand(8, -1, -1, -1), ConfusionRecord.empty(2, cases=8)
        for _ in range(12):
            word = network + 0.03
            record = record.followed(labels, belief(record, labels, word), 0.5)
            network = belief(record, labels, word).mean(0).expand(8, -1, -1, -1)
        return ((network[0, 1] > 0.5).sum() / (radius < 9).sum()).item()

    assert 0.98 < final_size() < largest
    monkeypatch.setattr(ConfusionRecord, "common", torch.zeros(1, 2))
    assert final_size() > 1.25 + noise / 4


def test_evidence_is_the_likelihood_ratio_at_the_depth_of_the_pixel() -> None:
    """At the border labels 1 are wrong as often as right, deep inside nine times in ten right."""
    counts = torch.zeros(2, 2, LEVELS)
    counts[1, 1, 0], counts[1, 1, 3], counts[0, 1, 0], counts[0, 1, 3], counts[0, 0, 5] = 100, 900, 100, 100, 800
    counts[1, 0, 5] = 1  # class 1 adds up to 1001, class 0 to 1000
    record = confusion_record(1e6 * counts.unsqueeze(0))
    classes, levels = torch.tensor([[[1, 1, 0, IGNORE]]]), torch.tensor([[[0, 3, 5, 0]]])
    labels = ImperfectLabels(classes, levels, torch.tensor([False]), torch.tensor([-1]))
    found = evidence(record, labels, torch.tensor([[[0, 0, 1, 0]]])).exp().flatten().tolist()
    assert found[:3] == pytest.approx([1.0, 9.0, 707], rel=0.02)  # 0.8 / 0.001, each with 0.000125 more
    assert all(math.isfinite(value) for value in found)


def test_labels_all_too_large_are_believed_in_their_core_and_not_at_their_border() -> None:
    """A disc labelled 3 pixels too large in every image, and a network that errs at a tenth of the pixels around there.

    By depth Bayes' rule mends the network's errors in the core, where labels are right, and follows the network in the
    margin, where they are wrong. Without depth both are judged alike: it mends neither, and follows the label into
    half of the margin.
    """
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")
    radius = ((y - 24) ** 2 + (x - 24) ** 2).sqrt()
    truth, given = (radius < 9).long().expand(8, -1, -1), (radius < 12).long().expand(8, -1, -1)
    right = 0.85 + 0.1 * torch.rand(truth.shape, generator=generator)
    own = torch.where(torch.rand(truth.shape, generator=generator) < 0.9, right, 1 - right)
    own = torch.where(radius < 15, own, 0.99)
    e = torch.stack([torch.where(truth == 0, own, 1 - own), torch.where(truth == 1, own, 1 - own)], dim=1)
    core, margin = truth == 1, (truth == 0) & (given == 1)
    wrong = {}
    for by_depth in (True, False):
        labels = imperfect_labels(given, torch.zeros(8, dtype=torch.bool), torch.arange(8))
        if not by_depth:
            labels = replace(labels, levels=torch.zeros_like(given))
        record, word = ConfusionRecord.empty(2, cases=8), e + 0.03
        record = record.followed(labels, belief(record, labels, word), 0.0)
        error = ((belief(record, labels, word)[:, 1] > 0.5) != (truth == 1)).float()
        wrong[by_depth] = error[core].mean().item(), error[margin].mean().item()
    assert wrong[True][0] < 0.01 and wrong[True][1] < 0.2
    assert wrong[False][0] > 0.05 and wrong[False][1] > 0.3


def test_two_processes_make_one_record() -> None:
    labels, e = random_batch(images=2)
    empty = ConfusionRecord.empty(3, cases=2)
    whole = empty.followed(labels, e, 0.5)

    def of_half(half: slice, total: Total) -> ConfusionRecord:
        return empty.followed(labels_of_images(labels, half), e[half], 0.5, total)

    for shared in in_two_processes(of_half):
        torch.testing.assert_close(shared.counts, whole.counts)
        torch.testing.assert_close(shared.cases, whole.cases)


def test_nothing_waits_for_the_device() -> None:
    labels, e = random_batch()
    with NoHostReads() as watched:
        record = ConfusionRecord.empty(3, cases=3).followed(labels, e, 0.9)
        evidence(record, labels, torch.zeros_like(labels.classes))
    assert watched.operations
