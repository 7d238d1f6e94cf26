"""Several labels of one image: what they say together, held against formulas by hand and against SimpleITK's STAPLE."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from maths_support import NoHostReads
from torch import Tensor

from nnunetv2_mlbseg.maths.labels import IGNORE, ImperfectLabels
from nnunetv2_mlbseg.maths.unshown import Unshown
from nnunetv2_mlbseg.maths.weighting import confusion
from nnunetv2_mlbseg.maths.weighting.confusion import ConfusionRecord
from nnunetv2_mlbseg.maths.weighting.depth import LEVELS, depth_levels
from nnunetv2_mlbseg.maths.weighting.disputes import DisputeRecord
from nnunetv2_mlbseg.maths.weighting.face_value import judged
from nnunetv2_mlbseg.maths.weighting.seen import Seen
from nnunetv2_mlbseg.maths.weighting.testimony import LEAST_CONFUSION, belief, evidence, united
from nnunetv2_mlbseg.maths.weighting.tied import rivals, tied_weights

CASES = 6


def kinds_of(*labels: Tensor, generated: Tensor | None = None) -> list[ImperfectLabels]:
    """Labels (B, *S) of several kinds of the first B of :data:`CASES` cases, all at depth 0."""
    images = len(labels[0])
    made = torch.zeros(images, dtype=torch.bool) if generated is None else generated
    case = torch.arange(images)
    return [
        ImperfectLabels(one, one * 0, made, torch.where(made | (one < 0).flatten(1).all(1), -1, case + CASES * number))
        for number, one in enumerate(labels)
    ]


def record_of(*matrices: list[list[float]]) -> ConfusionRecord:
    """A record in which every kind of label is a source with this matrix, known beyond doubt."""
    classes, kinds = len(matrices[0]), len(matrices)
    found = ConfusionRecord.empty(classes).with_sources([kind for kind in range(kinds) for _ in range(CASES)])
    tables = torch.tensor(matrices).unsqueeze(3) * torch.eye(LEVELS)[0] * 1e9  # all at depth 0
    return replace(found, sources=tables)


GOOD = [[0.95, 0.03, 0.02], [0.04, 0.9, 0.06], [0.05, 0.05, 0.9]]
POOR = [[0.6, 0.3, 0.1], [0.3, 0.5, 0.2], [0.2, 0.3, 0.5]]


def word(matrix: list[list[float]], label: int) -> Tensor:
    return torch.tensor([row[label] for row in matrix]) + LEAST_CONFUSION / LEVELS


def test_belief_multiplies_the_words_of_all_labels_and_a_missing_one_says_nothing() -> None:
    e = torch.tensor([0.5, 0.3, 0.2]).view(1, 3, 1).expand(1, 3, 3)
    kinds = kinds_of(torch.tensor([[1, 2, IGNORE]]), torch.tensor([[1, IGNORE, 0]]), torch.tensor([[2, 0, 2]]))
    record = record_of(GOOD, POOR, POOR)
    found = belief(record, united(record, kinds), e)
    said = [
        word(GOOD, 1) * word(POOR, 1) * word(POOR, 2),
        word(GOOD, 2) * word(POOR, 0),
        word(POOR, 0) * word(POOR, 2),
    ]
    expected = torch.stack([(e[0, :, 0] * one) / (e[0, :, 0] * one).sum() for one in said], dim=1)
    torch.testing.assert_close(found[0], expected, rtol=1e-5, atol=1e-6)


def test_evidence_is_the_log_odds_that_belief_adds_to_the_networks() -> None:
    generator = torch.Generator().manual_seed(3)
    kinds = kinds_of(*torch.randint(-1, 3, (3, 4, 5, 6), generator=generator))
    e = torch.rand(4, 3, 5, 6, generator=generator) + 0.05
    record = record_of(GOOD, POOR, GOOD)
    labels = united(record, kinds)
    against = (labels.classes.clamp_min(0) + 1) % 3
    found = belief(record, labels, e)
    odds = [maps.gather(1, c.clamp_min(0).unsqueeze(1)).squeeze(1).log() for maps in (found, e)
            for c in (labels.classes, against)]  # fmt: skip
    known = labels.classes >= 0
    torch.testing.assert_close(
        (odds[0] - odds[1] - odds[2] + odds[3])[known], evidence(record, labels, against)[known], rtol=1e-4, atol=1e-4
    )


def test_two_poor_labels_outvote_a_good_one_only_if_their_matrices_say_so() -> None:
    one, other = torch.tensor([[1, 1]]), torch.tensor([[2, 1]])
    kinds = kinds_of(one, other, other)
    assert united(record_of(GOOD, POOR, POOR), kinds).classes.tolist() == [[1, 1]]
    assert united(record_of(GOOD, GOOD, GOOD), kinds).classes.tolist() == [[2, 1]]
    assert united(record_of(POOR, GOOD, GOOD), kinds).classes.tolist() == [[2, 1]]


def test_where_one_label_is_given_it_is_the_vote_whatever_is_thought_of_it() -> None:
    backwards = [[0.1, 0.8, 0.1], [0.8, 0.1, 0.1], [0.1, 0.1, 0.8]]
    kinds = kinds_of(torch.tensor([[1, IGNORE, IGNORE]]), torch.tensor([[IGNORE, 0, IGNORE]]))
    assert united(record_of(backwards, backwards), kinds).classes.tolist() == [[1, 0, IGNORE]]


def test_the_same_label_twice_counts_twice_with_what_it_has_in_common_with_the_image() -> None:
    label = torch.tensor([[0, 1, 2, 1]])
    against = torch.tensor([[1, 0, 0, 2]])
    counts = torch.tensor([[[800.0, 10, 10], [10, 80, 10], [10, 10, 60]]]).unsqueeze(3) / LEVELS
    record = replace(record_of(GOOD, GOOD), counts=counts.repeat(1, 1, 1, LEVELS))
    assert record.common.abs().min() > 0.01
    once, twice = kinds_of(label)[0], united(record, kinds_of(label, label))
    torch.testing.assert_close(evidence(record, twice, against), 2 * evidence(record, once, against))


def test_a_second_kind_that_no_image_has_changes_nothing() -> None:
    generator = torch.Generator().manual_seed(5)
    label = torch.randint(-1, 3, (4, 5, 6), generator=generator)
    e = torch.rand(4, 3, 5, 6, generator=generator) + 0.05
    record = record_of(GOOD, POOR)
    alone = kinds_of(label)[0]
    both = united(record, kinds_of(label, torch.full_like(label, IGNORE)))
    assert torch.equal(both.classes, alone.classes)
    known = alone.classes >= 0
    for one in (
        lambda labels: belief(record, labels, e).movedim(1, -1),
        lambda labels: evidence(record, labels, label * 0),
    ):
        torch.testing.assert_close(one(both)[known], one(alone)[known])
    for one in ("counts", "sources", "cases"):
        followed = [record.followed(labels, e, 0.5) for labels in (both, alone)]
        torch.testing.assert_close(getattr(followed[0], one), getattr(followed[1], one))


def test_every_label_counts_in_the_tables_of_its_own_source_and_case() -> None:
    record = ConfusionRecord.empty(2, cases=2 * CASES).with_sources([0] * CASES + [1] * CASES)
    truth = torch.tensor([[0, 0, 1, 1]])
    wrong = torch.tensor([[0, 1, 1, 0]])
    labels = united(record, kinds_of(truth, wrong))
    e = torch.nn.functional.one_hot(truth, 2).movedim(2, 1).float()
    found = record.followed(labels, e, 0.0)
    assert found.sources.sum(3).tolist() == [[[2, 0], [0, 2]], [[1, 1], [1, 1]]]
    assert found.cases.sum(3)[[0, CASES]].tolist() == found.sources.sum(3).tolist()
    assert found.counts.sum(3).tolist() == [[[3, 1], [1, 3]]]


def test_generated_labels_are_no_witnesses_and_no_vote_touches_them() -> None:
    made = torch.tensor([True, False])
    label, other = torch.tensor([[1, 1], [1, 1]]), torch.tensor([[IGNORE, IGNORE], [0, 0]])
    record = record_of(POOR, GOOD)
    labels = united(record, kinds_of(label, other, generated=made))
    assert labels.classes.tolist() == [[1, 1], [0, 0]]
    assert not evidence(record, labels, 1 - labels.classes)[0].any()
    assert evidence(record, labels, 1 - labels.classes)[1].all()
    e = torch.full((2, 3, 2), 1 / 3)
    assert record.followed(labels, e, 0.0).counts.sum() == pytest.approx(4), "two labels of two pixels"


def test_what_clean_images_cannot_judge_is_taken_from_every_label() -> None:
    record = record_of(GOOD, GOOD)
    labels = united(record, kinds_of(torch.tensor([[2, 1, 1]]), torch.tensor([[2, 2, 1]])))
    seen = Seen(labels, torch.tensor([[0, 1, 1]]), torch.full((1, 3, 3), 1 / 3), ((3,),))
    found = judged(seen, Unshown.of((2,), 3))
    assert [one.classes.tolist() for one in found.imperfect.witnesses] == [
        [[IGNORE, 1 if labels.classes[0, 1] == 1 else IGNORE, 1]],
        [[IGNORE, IGNORE, 1]],
    ]


def test_weights_of_several_labels_read_nothing_on_the_host() -> None:
    generator = torch.Generator().manual_seed(7)
    kinds = kinds_of(*torch.randint(-1, 3, (3, 4, 6, 6), generator=generator))
    e = torch.rand(4, 3, 6, 6, generator=generator).softmax(1)
    record = DisputeRecord.empty(3, 3 * CASES).with_sources([0] * CASES + [1] * CASES + [2] * CASES)
    raw = torch.randn(2, 2, 6, 6, generator=generator)
    with NoHostReads():
        labels = record.united(kinds)
        record = record.followed(raw[0], raw[1], labels, e.argmax(1), e, 0.9)
        of_n, of_p = tied_weights(record, labels, e.argmax(1), e, 1.0, rivals(labels.classes, e))
    assert ((of_n >= 0) & (of_p >= 0) & (of_n + of_p <= 1 + 1e-6)).all()


def test_three_readers_are_put_together_as_staple_puts_them_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors at random places: labels have nothing in common but the truth, which is what STAPLE takes for granted."""
    monkeypatch.setattr(ConfusionRecord, "common", property(lambda record: torch.zeros(1, 2)))
    monkeypatch.setattr(confusion, "SOURCE_PRIOR", 0.1)
    generator = torch.Generator().manual_seed(11)
    y, x = torch.meshgrid(torch.arange(48), torch.arange(48), indexing="ij")
    truth = ((y - 24) ** 2 + (x - 22) ** 2 < 15**2).long()
    labels = []
    for missed, false in ((0.05, 0.05), (0.3, 0.1), (0.2, 0.3)):
        flipped = torch.rand(truth.shape, generator=generator) < torch.where(truth == 1, missed, false)
        labels.append(torch.where(flipped, 1 - truth, truth))
    record = ConfusionRecord.empty(2).with_sources([kind for kind in range(3) for _ in range(CASES)])
    prior = torch.stack(labels).float().mean()
    network = torch.stack([1 - prior, prior]).view(1, 2, 1, 1).expand(1, 2, 48, 48)  # knows how large it is, not where
    kinds = kinds_of(*(one.unsqueeze(0) for one in labels))
    for _ in range(100):
        both = united(record, kinds)
        record = record.followed(both, belief(record, both, network), 0.95)
    found = belief(record, united(record, kinds), network)[0, 1]

    staple = sitk.STAPLEImageFilter()
    staple.SetForegroundValue(1)
    images = [sitk.GetImageFromArray(one.numpy().astype(np.uint8)) for one in labels]
    theirs = torch.from_numpy(sitk.GetArrayFromImage(staple.Execute(images))).float()
    wrong = [((one > 0.5).long() != truth).float().mean() for one in (found, theirs)]
    majority = ((torch.stack(labels).sum(0) >= 2).long() != truth).float().mean()
    assert wrong[0] == wrong[1] < majority
    assert torch.equal(found > 0.5, theirs > 0.5)
    rates = [m.sum(2) for m in record.of_sources(torch.tensor([0, CASES, 2 * CASES]))]
    for rate, sensitivity in zip(rates, staple.GetSensitivity(), strict=True):
        assert float(rate[1, 1]) == pytest.approx(sensitivity, abs=0.03)


@pytest.mark.parametrize("count", [2, 3])
def test_structures_do_not_grow_while_a_network_learns_from_several_labels(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with one label: discs, each reader up to 3 pixels too small or too large, in another order of the images."""
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")
    radius, noise = ((y - 24) ** 2 + (x - 24) ** 2).sqrt(), torch.linspace(-3, 3, 8)
    orders = [torch.arange(8), torch.tensor([3, 6, 0, 5, 7, 1, 4, 2]), torch.tensor([6, 1, 4, 7, 0, 3, 2, 5])][:count]
    given = [(radius < 9 + noise[order].view(8, 1, 1)).long() for order in orders]
    kinds = [
        ImperfectLabels(one, depth_levels(one), torch.zeros(8, dtype=torch.bool), torch.arange(8) + 8 * number)
        for number, one in enumerate(given)
    ]

    def final_size() -> float:
        inside = ((9 - radius) / 2).sigmoid()
        network = torch.stack([1 - inside, inside]).expand(8, -1, -1, -1)
        record = ConfusionRecord.empty(2, cases=8 * count).with_sources([k for k in range(count) for _ in range(8)])
        for _ in range(12):
            labels = united(record, kinds)
            record = record.followed(labels, belief(record, labels, network + 0.03), 0.5)
            network = belief(record, labels, network + 0.03).mean(0).expand(8, -1, -1, -1)
        return ((network[0, 1] > 0.5).sum() / (radius < 9).sum()).item()

    assert 0.98 < final_size() < 1.3
    common = ConfusionRecord.common.fget
    monkeypatch.setattr(ConfusionRecord, "common", property(lambda record: common(record) / count))
    assert final_size() > 1.8, "taken off once for all labels"
