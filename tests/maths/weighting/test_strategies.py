"""What all strategies have in common: one shape, weights that make sense, a state that can be kept and shared."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import pytest
import torch
from maths_support import HALVES, NoHostReads, imperfect_labels, in_two_processes, seen, seen_of_images

from nnunetv2_mlbseg.maths.labels import IGNORE, WeightedLabels, labels_that_count
from nnunetv2_mlbseg.maths.records import NoRecord, Record
from nnunetv2_mlbseg.maths.weighting.normalization import NORMALIZATIONS
from nnunetv2_mlbseg.maths.weighting.seen import Seen
from nnunetv2_mlbseg.maths.weighting.strategies import WEIGHTINGS, Weighting, make
from nnunetv2_mlbseg.maths.weighting.tied import Tied

CLASSES, CASES, SIZES = 3, 2, ((12, 8), (6, 4))
ALL = pytest.mark.parametrize("name", WEIGHTINGS)


def batch(seed: int = 0) -> Seen:
    """Two images at two scales: one with a given label, one with a generated one; some pixels beyond the image."""
    generator = torch.Generator().manual_seed(seed)
    logits, tangents = ([torch.randn(2, CLASSES, *size, generator=generator) for size in SIZES] for _ in range(2))
    imperfect = torch.randint(-1, CLASSES, (2, *SIZES[0]), generator=generator)
    labels = imperfect_labels(imperfect, torch.tensor([False, True]), torch.tensor([1, -1]))
    found = seen(logits, tangents, labels, logits[0].argmax(1))
    inside = torch.arange(SIZES[0][0]).view(-1, 1) < 10
    return replace(found, pseudo=torch.where(inside, found.pseudo, IGNORE), ensemble=found.ensemble * inside)


BATCH = batch()


def strategy(name: str, how: str = "sum") -> Weighting[Any]:
    return make(name, how, decay=0.5, strength=8.0)


def learned(weighting: Weighting[Any], *batches: Seen) -> Record:
    state = weighting.begin(CLASSES, CASES)
    for each in batches:
        state = weighting.learned(each, state)
    return state


def weighed(name: str, how: str = "sum", shown: Seen = BATCH) -> list[WeightedLabels]:
    weighting = strategy(name, how)
    return weighting.weigh(shown, learned(weighting, shown))


def labelled(found: WeightedLabels) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Weights of both labels, and where there is such a label; the rival counts with the pseudo label."""
    rival = 0.0 if found.weight_rival is None else found.weight_rival
    return [(found.weight_imperfect, found.imperfect >= 0), (found.weight_pseudo + rival, found.pseudo >= 0)]


@ALL
def test_every_scale_has_labels_and_weights_of_its_size(name: str) -> None:
    found = weighed(name)
    assert [tuple(each.imperfect.shape[1:]) for each in found] == list(SIZES)
    for each in found:
        maps = [each.raw_imperfect, each.raw_pseudo, *(part for pair in each.pairs() for part in pair)]
        assert {tuple(one.shape) for one in maps} == {tuple(each.imperfect.shape)}
        assert all(label.dtype == torch.int64 and weights.dtype == torch.float32 for label, weights in each.pairs())


@ALL
@pytest.mark.parametrize("how", NORMALIZATIONS)
def test_weights_are_not_negative_and_zero_where_a_label_is_ignored(name: str, how: str) -> None:
    for each in weighed(name, how):
        for weights, there in labelled(each):
            assert (weights >= 0).all() and not weights[~there].any() and weights[there].any()
        total = sum(weights.sum().item() for _, weights in each.pairs())
        assert total == pytest.approx(1 if how == "joint" else 2)


@ALL
@pytest.mark.parametrize("which", ["imperfect", "pseudo"])
def test_a_batch_with_one_kind_of_label_has_all_weight_there(name: str, which: str) -> None:
    n, p = labels_that_count(BATCH.imperfect.classes, BATCH.pseudo, which)
    for each in weighed(name, "sum", replace(BATCH, imperfect=replace(BATCH.imperfect, classes=n), pseudo=p)):
        of = {"imperfect": each.weight_imperfect, "pseudo": each.weight_pseudo}
        assert of.pop(which).sum().item() == pytest.approx(1)
        (other,) = of.values()
        assert (other == 0).all()


@ALL
def test_a_state_comes_back_from_a_checkpoint(name: str) -> None:
    state = learned(strategy(name), BATCH, batch(1))
    again = type(state).from_state(state.state())
    assert again.state().keys() == state.state().keys() == set(type(state).names())
    assert all(torch.equal(table, state.state()[key]) for key, table in again.state().items())


@ALL
def test_only_tied_weights_remember(name: str) -> None:
    weighting = strategy(name)
    before = weighting.begin(CLASSES, CASES)
    after = weighting.learned(BATCH, before)
    if isinstance(weighting, Tied):
        assert not any(table.any() for table in before.state().values())
        assert all(table.any() for name, table in after.state().items() if table.numel() and name != "known")
    else:
        assert after is before and isinstance(after, NoRecord)


@ALL
@pytest.mark.parametrize("how", NORMALIZATIONS)
def test_two_processes_find_what_one_does(name: str, how: str) -> None:
    """Each holds one of two images; ``total`` adds up over both."""
    weighting = strategy(name, how)
    before = learned(weighting, batch(1))
    state = weighting.learned(BATCH, before)
    halves = [seen_of_images(BATCH, half) for half in HALVES]
    states = in_two_processes(lambda half, total: weighting.learned(halves[HALVES.index(half)], before, total))
    for shared in states:
        for key, table in state.state().items():
            torch.testing.assert_close(shared.state()[key], table)
    found = in_two_processes(lambda half, total: weighting.weigh(halves[HALVES.index(half)], state, total))
    for whole, first, second in zip(weighting.weigh(BATCH, state), *found, strict=True):
        for pairs in zip(whole.pairs(), first.pairs(), second.pairs(), strict=True):
            for all_images, one, other in zip(*pairs, strict=True):
                torch.testing.assert_close(torch.cat([one, other]), all_images)


@ALL
def test_derivatives_are_needed_where_a_strategy_says_so(name: str) -> None:
    weighting, without = strategy(name), replace(BATCH, derivatives=None)
    state = learned(weighting, BATCH)
    tasks = {
        "weighs_by_tangents": [lambda: weighting.weigh(without, state)],
        "needs_tangents": [lambda: weighting.learned(without, state), lambda: weighting.weigh(without, state)],
    }
    for says, calls in tasks.items():
        if getattr(weighting, says):
            with pytest.raises(ValueError, match="need the derivatives"):
                [call() for call in calls]
        else:
            [call() for call in calls]


@ALL
def test_derivatives_that_are_not_finite_leave_the_weights_finite(name: str) -> None:
    spoilt = torch.tensor([float("nan"), float("inf"), -float("inf"), 1.0]).repeat(2)
    assert BATCH.derivatives is not None
    derivatives = tuple(each * spoilt[: each.shape[-1]] for each in BATCH.derivatives)
    for each in weighed(name, "joint", replace(BATCH, derivatives=derivatives)):
        for _, weights in each.pairs():
            assert torch.isfinite(weights).all() and weights.any()


@ALL
def test_no_value_is_read_on_the_host(name: str) -> None:
    with NoHostReads() as watched:
        for how in NORMALIZATIONS:
            weighed(name, how)
        learned(strategy(name), BATCH).unless_spoilt(None)
    assert watched.operations


def test_all_have_the_shape_of_the_protocol() -> None:
    for kind in WEIGHTINGS.values():
        for method in ("begin", "learned", "weigh"):
            ours, expected = (inspect.signature(getattr(each, method)).parameters for each in (kind, Weighting))
            assert [(p.name, p.default) for p in ours.values()] == [(p.name, p.default) for p in expected.values()]
        assert isinstance(kind.needs_tangents, bool) and isinstance(kind.weighs_by_tangents, bool)
        assert kind.needs_tangents >= kind.weighs_by_tangents


def test_a_strategy_is_made_of_the_values_that_it_uses() -> None:
    assert make("tied", "joint", 0.9, 8.0) == Tied("joint", 0.9, 8.0)
    for name, kind in WEIGHTINGS.items():
        made = make(name, "accepted", 0.9, 8.0)
        assert type(made) is kind and vars(made)["normalization"] == "accepted"
    with pytest.raises(ValueError, match="unknown weighting 'flat', expected one of tied, meta, uniform"):
        make("flat", "sum", 0.9, 8.0)
