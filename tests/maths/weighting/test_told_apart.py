"""How labels err by source: between what is known of all labels and of each case."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from maths_support import NoHostReads, imperfect_labels, in_two_processes, labels_of_images

from nnunetv2_mlbseg.maths.labels import ImperfectLabels
from nnunetv2_mlbseg.maths.tensors import Total
from nnunetv2_mlbseg.maths.weighting.confusion import ConfusionRecord
from nnunetv2_mlbseg.maths.weighting.depth import LEVELS
from nnunetv2_mlbseg.maths.weighting.testimony import belief, evidence
from nnunetv2_mlbseg.maths.weighting.told_apart import drawn_towards, followed, image_counts, one_pixel, pair_counts


def random_batch(images: int = 3, groups: int = 1, seed: int = 0) -> tuple[ImperfectLabels, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(-1, 2, (images * groups, 6, 7), generator=generator)
    levels = torch.randint(LEVELS, labels.shape, generator=generator)
    e = torch.rand(images * groups, 2, 6, 7, generator=generator)
    case = torch.arange(images).repeat_interleave(groups)
    made = torch.zeros(images * groups, dtype=torch.bool)
    return ImperfectLabels(labels, levels, made, case, groups), e / e.sum(1, keepdim=True)


def test_rows_fade_when_a_batch_shows_them_and_add_up_its_images() -> None:
    tables, images = torch.full((3, 1, 1, 1), 8.0), torch.tensor([1.0, 2.0, 4.0, 16.0]).view(-1, 1, 1, 1)
    row, told = torch.tensor([2, 0, 2, 7]), torch.tensor([True, True, True, False])
    found = followed(tables, row, told, images, 0.5)
    assert found.flatten().tolist() == [4 + 2, 8, 4 + 1 + 4]
    assert tables.flatten().tolist() == [8, 8, 8], "the tables of before stay"
    assert not len(followed(tables[:0], row, told, images, 0.5))


def test_a_matrix_is_that_of_its_counts_and_of_the_pixels_of_its_prior() -> None:
    """Of class 0 three pixels counted and one as the prior has it; of class 1 none."""
    counts = torch.tensor([[[[3.0]], [[0.0]]]]).view(1, 2, 1, 1).expand(1, 2, 2, 1) * torch.tensor([1.0, 0]).view(2, 1)
    prior, weight = torch.tensor([[0.5, 0.5], [0.25, 0.75]]).view(1, 2, 2, 1), torch.ones(1, 2, 1, 1)
    found = drawn_towards(counts, weight, prior).flatten().tolist()
    assert found == pytest.approx([3.5 / 4, 0.5 / 4, 0.25, 0.75])


def test_a_case_is_drawn_towards_its_source_and_that_towards_all() -> None:
    """Batches have 100 pixels of class 0, a quarter labelled 1. Source 0 was seen on 300, all labelled 0; source 1 not.

    Of source 0: (300 + 75) / 400 are labelled 0, and (0 + 93.75) / 200 in its case with 100 pixels, all labelled 1.
    """
    record = ConfusionRecord.empty(2, cases=4).with_sources([0, 0, 1, -1])
    counts, cases, sources = torch.zeros(2, 2, LEVELS), torch.zeros(4, 2, 2, LEVELS), torch.zeros(2, 2, 2, LEVELS)
    counts[0, 0, 0], counts[0, 1, 0], sources[0, 0, 0, 0], cases[1, 0, 1, 0] = 75, 25, 300, 100
    record = replace(record, counts=counts.unsqueeze(0), cases=cases, sources=sources)
    found = record.of_cases(torch.tensor([0, 1, 2, 3, -1]))[:, 0, 0].sum(1)
    expected = torch.tensor([0.9375, 0.9375 * 100 / 200, 0.75, 0.75, 0.75])
    torch.testing.assert_close(found, expected, atol=0.01, rtol=0)
    of_sources = record.of_sources(torch.tensor([0, 1, 2, 3, -1]))[:, 0, 0].sum(1)
    torch.testing.assert_close(of_sources, torch.tensor([0.9375, 0.9375, 0.75, 0.75, 0.75]), atol=0.01, rtol=0)
    alone = replace(record, cases=record.cases[:0])  # cases are not told apart, sources are
    torch.testing.assert_close(alone.of_cases(torch.tensor([0, 1, 2, 3, -1]))[:, 0, 0].sum(1), of_sources)


@pytest.mark.parametrize("groups", [1, 2])
def test_a_source_sums_over_its_cases_in_the_batches_that_show_it(groups: int) -> None:
    (one, e), (two, f) = random_batch(4, groups), random_batch(4, groups, seed=1)
    two = replace(two, case=torch.tensor([2, 2, -1, 2]).repeat_interleave(groups))
    record = ConfusionRecord.empty(2, 4, groups=groups).with_sources([1, 1, 0, -1])
    record = record.followed(one, e, 0.75).followed(two, f, 0.75)
    first, second = (
        image_counts(p, labels.classes, labels.levels).unflatten(0, (4, groups)) for labels, p in ((one, e), (two, f))
    )
    found = record.sources.unflatten(0, (2, groups))
    torch.testing.assert_close(found[1], first[0] + first[1])  # not seen again: nothing fades
    torch.testing.assert_close(found[0], 0.75 * first[2] + second[0] + second[1] + second[3])


def test_two_sources_of_opposite_error_part_and_without_sources_they_do_not() -> None:
    """Discs of radius 9, labelled with 6 by one reader and with 12 by the other, and a network that sees them blurred.

    A case that was not seen yet is judged by its source: the first reader misses pixels of the disc and never adds any,
    the other way round for the second one. Without sources both are judged alike, and neither right.
    """
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")
    radius = ((y - 24) ** 2 + (x - 24) ** 2).sqrt()
    given = (radius < torch.tensor([6.0, 12.0] * 4).view(8, 1, 1)).long()
    labels = imperfect_labels(given, torch.zeros(8, dtype=torch.bool), torch.arange(8))
    inside = ((9 - radius) / 0.7).sigmoid()
    word = torch.stack([1 - inside, inside]).expand(8, -1, -1, -1) + 0.03
    with_sources = ConfusionRecord.empty(2, cases=10).with_sources([0, 1] * 5)
    unseen = torch.tensor([8, 9])

    def of_unseen(record: ConfusionRecord) -> torch.Tensor:
        for _ in range(40):
            record = record.followed(labels, belief(record, labels, word), 0.9)
        return record.of_cases(unseen).sum(3)

    (small, large), (one, other) = of_unseen(with_sources), of_unseen(ConfusionRecord.empty(2, cases=10))
    assert small[1, 0] > 0.45 and small[0, 1] < 0.01, "misses half, adds nothing"
    assert large[1, 0] < 0.06 and large[0, 1] > 0.06, "misses nothing, adds much"
    assert torch.equal(one, other) and 0.2 < one[1, 0] < 0.3 and 0.02 < one[0, 1] < 0.04


def test_other_sources_begin_anew_and_the_same_ones_stay() -> None:
    labels, e = random_batch()
    record = ConfusionRecord.empty(2, cases=3).with_sources([0, 1, 1]).followed(labels, e, 0.5)
    assert record.with_sources([0, 1, 1]) is record
    other = record.with_sources([0, 0, 1])
    assert not other.sources.any() and other.source_of.tolist() == [0, 0, 1]
    assert other.counts is record.counts and other.cases is record.cases
    none = record.with_sources([])
    without = ConfusionRecord.empty(2, cases=3).followed(labels, e, 0.5)
    assert none.state().keys() == without.state().keys()
    assert all(torch.equal(table, without.state()[name]) for name, table in none.state().items()), "to the last bit"
    assert torch.equal(none.of_cases(labels.case), without.of_cases(labels.case))


def test_a_record_of_before_there_were_sources_is_read() -> None:
    labels, e = random_batch()
    record = ConfusionRecord.empty(2, cases=3).followed(labels, e, 0.5)
    former = {name: record.state()[name] for name in ("counts", "cases")}
    again = ConfusionRecord.from_state(former)
    assert torch.equal(again.of_cases(labels.case), record.of_cases(labels.case)) and not len(again.sources)


def test_two_processes_make_one_record() -> None:
    labels, e = random_batch(images=2)
    empty = ConfusionRecord.empty(2, cases=2).with_sources([0, 1])
    for sources in ([0, 1], [0, 0]):
        empty = empty.with_sources(sources)
        whole = empty.followed(labels, e, 0.5).followed(labels, e, 0.5)

        def of_half(half: slice, total: Total, record: ConfusionRecord = empty) -> ConfusionRecord:
            for _ in range(2):
                record = record.followed(labels_of_images(labels, half), e[half], 0.5, total)
            return record

        for shared in in_two_processes(of_half):
            torch.testing.assert_close(shared.sources, whole.sources)


def test_nothing_waits_for_the_device() -> None:
    labels, e = random_batch()
    with NoHostReads() as watched:
        record = ConfusionRecord.empty(2, cases=3).with_sources([1, -1, 0]).followed(labels, e, 0.9)
        evidence(record, labels, torch.zeros_like(labels.classes))
    assert watched.operations


def known_discs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Four pixels of class 1 and six of class 0; the former label misses one of the four, at depth level 2."""
    truth = torch.tensor([1, 1, 1, 1, 0, 0, 0, 0, 0, 0, -1, 0])
    former = torch.tensor([1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, -1])
    levels = torch.tensor([0, 0, 1, 2, 2, 2, 3, 3, 3, 3, 0, 0])
    return truth, former, levels


def test_true_and_former_labels_are_counted_by_class_and_depth() -> None:
    found = pair_counts(*known_discs(), 2)
    assert found[1, 1, :2].tolist() == [2, 1] and found[1, 0, 2] == 1
    assert found[0, 0, 2:4].tolist() == [2, 4] and found.sum() == 10


def test_what_is_known_is_the_matrix_before_the_first_batch_and_does_not_fade() -> None:
    """1000 times the pixels above: of class 1 a quarter is labelled 0. And one pixel that the prior spreads."""
    known = 1000 * pair_counts(*known_discs(), 2).unsqueeze(0)
    record = ConfusionRecord.empty(2, cases=3).with_known(known)
    (matrix,) = record.matrix.sum(3)
    assert matrix[1].tolist() == pytest.approx([1000.1 / 4001, 3000.9 / 4001])
    assert matrix[0].tolist() == pytest.approx([6000.9 / 6001, 0.1 / 6001])
    torch.testing.assert_close(record.of_cases(torch.tensor([0, -1])), record.matrix.repeat(2, 1, 1, 1))
    assert not record.common.any(), "how much image and label agree is learned from batches alone"
    labels, e = random_batch()
    plain = ConfusionRecord.empty(2, cases=3)
    for _ in range(3):
        record, plain = record.followed(labels, e, 0.5), plain.followed(labels, e, 0.5)
    assert torch.equal(record.known, known) and torch.equal(record.counts, plain.counts)
    expected = plain.counts + known + one_pixel(known)
    torch.testing.assert_close(record.matrix, expected / expected.sum((2, 3), keepdim=True))


def test_what_is_known_of_a_source_speaks_for_it_and_for_all() -> None:
    known = torch.zeros(3, 2, 2, LEVELS)
    known[0, 1, 1, 0], known[1, 1, 0, 0], known[2, 1, 1, 0] = 1e5, 2e5, 1e5  # of no source; of the first, the second
    record = ConfusionRecord.empty(2, cases=3).with_sources([0, 1, -1]).with_known(known)
    first, second, none = record.of_cases(torch.tensor([0, 1, 2]))[:, 1].sum(2)
    assert first[0] > 0.99 and second[1] > 0.99
    torch.testing.assert_close(none, torch.tensor([0.5, 0.5]), atol=1e-3, rtol=0)
    other = record.with_sources([1, 0, 0])
    torch.testing.assert_close(other.matrix, record.matrix)
    torch.testing.assert_close(other.of_cases(torch.tensor([0, 1])), other.matrix.repeat(2, 1, 1, 1))
