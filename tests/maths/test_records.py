"""What is remembered of earlier batches: flat states, there and back, on a device, and never spoilt."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest
import torch
from maths_support import NoHostReads
from torch import Tensor

from nnunetv2_mlbseg.maths.class_shares import ShareRecord
from nnunetv2_mlbseg.maths.records import NoRecord, Record
from nnunetv2_mlbseg.maths.weighting.confusion import ConfusionRecord
from nnunetv2_mlbseg.maths.weighting.disputes import DisputeRecord

EMPTY: dict[str, Record] = {
    "shares": ShareRecord.empty(3),
    "confusion": ConfusionRecord.empty(3, cases=2),
    "disputes": DisputeRecord.empty(3, cases=2).with_sources([1, -1]),
    "nothing": NoRecord(),
}
NAMES = {
    "shares": ("clean", "pseudo", "bias"),
    "confusion": ("counts", "cases", "sources", "source_of", "known"),
    "disputes": ("gain", "extent", "counts", "cases", "sources", "source_of", "known"),
    "nothing": (),
}
"""As checkpoints have them."""
ALL = pytest.mark.parametrize("name", EMPTY)


@dataclass(frozen=True)
class Inner(Record):
    a: Tensor
    b: Tensor


@dataclass(frozen=True)
class Outer(Record):
    first: Inner
    c: Tensor


OUTER = Outer(Inner(torch.tensor([1.0]), torch.tensor([2.0, 3.0])), torch.tensor(4.0))


def filled(record: Record) -> Record:
    generator = torch.Generator().manual_seed(0)
    state = {
        name: torch.rand(table.shape, generator=generator) if table.is_floating_point() else table
        for name, table in record.state().items()
    }
    return type(record).from_state(state)


@ALL
def test_the_state_is_flat_and_comes_back(name: str) -> None:
    record = filled(EMPTY[name])
    state = record.state()
    assert tuple(state) == type(record).names() == NAMES[name]
    again = type(record).from_state(dict(reversed(state.items())))
    assert type(again) is type(record)
    assert all(torch.equal(table, state[key]) for key, table in again.state().items())


def test_records_within_a_record_are_made_again() -> None:
    assert OUTER.state() == {"a": OUTER.first.a, "b": OUTER.first.b, "c": OUTER.c}
    again = Outer.from_state(OUTER.state())
    assert isinstance(again.first, Inner) and again.first.b is OUTER.first.b and again.c is OUTER.c


def test_a_state_of_another_version_is_refused() -> None:
    state = OUTER.state()
    with pytest.raises(ValueError, match="a Outer of a, b; expected a, b, c"):
        Outer.from_state({name: table for name, table in state.items() if name != "c"})
    with pytest.raises(ValueError, match="a Outer of a, b, c, d; expected a, b, c"):
        Outer.from_state({**state, "d": state["a"]})


@ALL
def test_a_record_moves_as_a_whole(name: str) -> None:
    moved = EMPTY[name].to("meta")
    assert type(moved) is type(EMPTY[name])
    assert {table.device.type for table in moved.state().values()} <= {"meta"}


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("which", ["gain", "extent", "counts", "cases", "sources", "known"])
def test_a_spoilt_record_is_left_for_the_one_of_before(which: str, value: float) -> None:
    before = filled(EMPTY["disputes"])
    state = before.state()
    now = type(before).from_state(
        {**{name: 2 * table for name, table in state.items()}, "source_of": state["source_of"]}
    )
    spoilt = type(before).from_state({**now.state(), which: now.state()[which].index_fill(0, torch.tensor(0), value)})
    for record, expected in ((now, now), (spoilt, before)):
        kept = record.unless_spoilt(before).state()
        assert all(torch.equal(table, expected.state()[name]) for name, table in kept.items())
    anew = spoilt.unless_spoilt(None).state()
    assert torch.equal(anew.pop("source_of"), state["source_of"]), "which case is of which source is known for good"
    assert not any(table.any() for table in anew.values())


@ALL
def test_good_records_stay_and_nothing_waits_for_the_device(name: str) -> None:
    record = filled(EMPTY[name])
    with NoHostReads():
        kept = record.unless_spoilt(EMPTY[name])
    assert type(kept) is type(record)
    assert all(torch.equal(table, record.state()[key]) for key, table in kept.state().items())


def test_a_table_without_entries_does_not_spoil_the_others() -> None:
    """Where cases are not told apart their table has no row."""
    record = replace(ConfusionRecord.empty(2), counts=torch.ones(ConfusionRecord.empty(2).counts.shape))
    assert record.unless_spoilt(None).counts.all()
