"""What each kind of key accepts, and that values are kept as they were given."""

from __future__ import annotations

import json
import math
from typing import Any, Literal

import pytest
from pydantic import ValidationError

from nnunetv2_mlbseg.settings.rules import (
    NO_UNIT,
    OWN,
    Section,
    Settings,
    automatic_flag,
    flag,
    interval,
    list_of,
    number,
    one_of,
    optional_expression,
    optional_whole,
    rule_of,
    texts,
    whole,
)

PLACE = Section("Place", "Where it is.")


class Example(Settings):
    """A key of every kind."""

    factor: float = number(1.0, least=0, unit="mm", section=PLACE, source="a paper")
    """Says what it is."""
    share: float = number(0.5, least=0, most=0.9)
    rate: float = number(0.5, least=0, most=10, open_ends=True)
    count: int = whole(3, least=1)
    size: int | None = optional_whole(None, least=1)
    seed: int | None = optional_whole(None, least=0, most=9)
    fast: bool = flag(True)
    short: Literal["auto"] | bool = automatic_flag(False)
    loss: str = one_of("ce", names=("ce", "dice"))
    views: tuple[str, ...] = list_of(("flip",), names=("flip", "zoom"), if_empty="no views")
    cases: tuple[str, ...] = texts((), what="case names")
    zoom: tuple[float, float] = interval((1.0, 2.0), least=1, most=4)
    pattern: str | None = optional_expression(None)


NAN, INFINITE = math.nan, math.inf
NO_NUMBERS = [True, "1", None, [1], NAN, INFINITE, -INFINITE, 10**400]
NO_WHOLES = [True, "3", 3.0, [3], NAN, INFINITE]

GOOD: dict[str, list[Any]] = {
    "factor": [0, 0.0, 1, 10**300, 2.5],
    "share": [0, 0.9, 0.1],
    "rate": [5e-324, 9.999, 1],
    "count": [1, 10**30],
    "size": [None, 1],
    "seed": [None, 0, 9],
    "fast": [True, False],
    "short": ["auto", True, False],
    "loss": ["ce", "dice"],
    "views": [(), ("zoom",), ("flip", "zoom", "flip")],
    "cases": [(), ("a", "")],
    "zoom": [(1, 4), (2, 2), (1.5, 3)],
    "pattern": [None, "", "(a)_"],
}
BAD: dict[str, list[Any]] = {
    "factor": [*NO_NUMBERS, -1e-300, -1],
    "share": [*NO_NUMBERS, -0.1, 0.91, 1],
    "rate": [*NO_NUMBERS, 0, 0.0, 10, 10.0],
    "count": [*NO_WHOLES, None, 0],
    "size": [*NO_WHOLES, 0],
    "seed": [*NO_WHOLES, -1, 10],
    "fast": [0, 1, "true", None],
    "short": [0, 1, "true", "Auto", None, ["auto"]],
    "loss": ["Ce", "", b"ce", None, ["ce"]],
    "views": ["flip", ["shear"], ["flip", 1], ["flip", None], [["flip"]], {"flip"}, None],
    "cases": ["a", ["a", 1], {"a": 1}, None],
    "zoom": [[2, 1], [1], [1, 2, 3], [0.9, 2], [1, 4.1], [1, True], [1, "2"], [1, NAN], [[1, 2]], 1, None],
    "pattern": ["(", 1, ["a"], "a{99999999999}"],
}


def pairs(values: dict[str, list[Any]]) -> list[tuple[str, Any]]:
    return [(key, value) for key, some in values.items() for value in some]


@pytest.mark.parametrize(("key", "value"), pairs(GOOD))
def test_good_values_are_kept_as_they_are(key, value):
    kept = getattr(Example(**{key: value}), key)
    assert repr(kept) == repr(value)


@pytest.mark.parametrize(("key", "value"), pairs(BAD))
def test_other_values_are_refused(key, value):
    with pytest.raises(ValidationError) as caught:
        Example(**{key: value})
    assert {found["loc"][0] for found in caught.value.errors()} == {key}


def test_every_kind_is_tried():
    assert set(GOOD) == set(BAD) == set(Example.model_fields)


def test_lists_become_tuples_and_whole_numbers_stay_whole():
    example = Example(zoom=[1, 2], views=["zoom"], factor=1)
    assert (example.zoom, example.views) == ((1, 2), ("zoom",))
    assert [type(number) for number in (*example.zoom, example.factor)] == [int, int, int]


def test_as_dict_has_plain_json_types_in_the_order_of_declaration():
    found = Example(zoom=[1, 2.5], factor=2).as_dict()
    assert list(found) == list(Example.model_fields)
    assert json.loads(json.dumps(found)) == found
    assert (found["zoom"], found["views"], found["size"]) == ([1, 2.5], ["flip"], None)
    assert repr(found["factor"]) == "2"


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("factor", "a number, 0 or more"),
        ("share", "a number from 0 to 0.9"),
        ("rate", "a number between 0 and 10"),
        ("count", "a whole number, 1 or more"),
        ("size", "a whole number, 1 or more, or null"),
        ("seed", "a whole number from 0 to 9, or null"),
        ("fast", "true or false"),
        ("loss", "one of ce, dice"),
        ("views", "a list of flip, zoom (empty: no views)"),
        ("cases", "a list of case names"),
        ("zoom", "two numbers [low, high] between 1 and 4"),
        ("pattern", "a regular expression, or null"),
    ],
)
def test_what_a_key_accepts_in_words(key, words):
    assert rule_of(Example, key).expected == words


def test_a_rule_has_unit_section_and_source():
    rule = rule_of(Example, "factor")
    assert (rule.unit, rule.section, rule.source) == ("mm", PLACE, "a paper")
    other = rule_of(Example, "share")
    assert (other.unit, other.section, other.source) == (NO_UNIT, OWN, "")
    assert Example.model_fields["factor"].description == "Says what it is."


def test_nothing_changes_settings_and_no_other_key_is_taken():
    example = Example()
    with pytest.raises(ValidationError, match="frozen"):
        example.count = 4
    with pytest.raises(ValidationError, match="extra_forbidden"):
        Example(counts=4)
    assert example == Example() != Example(count=4)


def test_a_key_without_a_rule_is_a_mistake_of_the_programmer():
    class Bare(Settings):
        count: int = 3

    with pytest.raises(TypeError, match=r"Bare.count has no rule"):
        Bare(count=4)
