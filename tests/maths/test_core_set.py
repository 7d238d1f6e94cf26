"""The greedy choice of candidates, held against hand values, a plain loop, and the best of all choices."""

from __future__ import annotations

from itertools import combinations
from math import dist

import pytest
import torch

from nnunetv2_mlbseg.maths.core_set import core_set, standardised


def test_on_a_line_the_far_and_worthy_come_first():
    """Covered: 0. Candidates at 1, 4, 5, -3, worth 1 but for the one at 5, worth 0.5: gains 1, 4, 2.5, 3. Taking 4
    leaves the one at 5 with 0.5 and the one at 1 with 1 (from 0); so -3 is next, then 1, then 5.
    """
    at, worth = torch.tensor([[1.0], [4.0], [5.0], [-3.0]]), torch.tensor([1.0, 1.0, 0.5, 1.0])
    found = core_set(torch.zeros(1, 1), at, worth, 9)
    assert [one.number for one in found] == [1, 3, 0, 2]
    assert [one.gain for one in found] == [4, 3, 1, 0.5] and [one.distance for one in found] == [4, 3, 1, 1]
    assert [one.nearest for one in found] == [0, 0, 0, 2]  # the last one lies beside candidate 1
    assert core_set(torch.zeros(1, 1), at, worth, 2) == found[:2]


def greedy(covered: list, candidates: list, worth: list, count: int) -> list[int]:
    """The rule as its docstring has it."""
    taken: list[int] = []
    while len(taken) < count:
        places = [*covered, *(candidates[one] for one in taken)]
        gains = {
            number: worth[number] * min(dist(candidates[number], place) for place in places)
            for number in range(len(candidates))
            if number not in taken
        }
        taken.append(max(gains, key=lambda number: gains[number]))
    return taken


@pytest.mark.parametrize("seed", range(5))
def test_it_is_what_a_plain_loop_finds(seed):
    generator = torch.Generator().manual_seed(seed)
    covered, candidates = (torch.rand(rows, 3, generator=generator, dtype=torch.float64) for rows in (1 + seed, 12))
    worth = torch.rand(12, generator=generator, dtype=torch.float64)
    found = core_set(covered, candidates, worth, 6)
    assert [one.number for one in found] == greedy(covered.tolist(), candidates.tolist(), worth.tolist(), 6)


@pytest.mark.parametrize("seed", range(5))
def test_of_equal_worth_nothing_is_left_farther_than_twice_the_best_possible(seed):
    """Gonzalez 1985: the greedy radius is at most twice that of the best of all choices."""
    generator = torch.Generator().manual_seed(seed)
    covered, candidates = (torch.rand(rows, 2, generator=generator, dtype=torch.float64) for rows in (2, 8))

    def radius(taken) -> float:
        known = torch.cat([covered, candidates[list(taken)]])
        return float(torch.cdist(candidates, known).min(dim=1).values.max())

    found = core_set(covered, candidates, torch.ones(8, dtype=torch.float64), 3)
    best = min(radius(taken) for taken in combinations(range(8), 3))
    assert best <= radius([one.number for one in found]) <= 2 * best


def test_twins_of_what_is_covered_gain_nothing_and_nothing_is_taken_twice():
    same = torch.ones(3, 2)
    found = core_set(same[:1], same, torch.ones(3), 3)
    assert [one.number for one in found] == [0, 1, 2] and all(one.gain == 0 for one in found)


def test_features_are_standardised_and_constant_ones_do_not_count():
    found = standardised(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    assert found.tolist() == [[-1, 0], [1, 0]]
