"""How the labels of a source err: measured on volumes made by hand, and put into words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from audit_support import two_squares
from numpy.typing import NDArray

from nnunetv2_mlbseg.audit.sources import (
    NO_ERROR,
    CaseErrors,
    StructureErrors,
    bootstrapped,
    case_errors,
    contour_mm,
    source_table,
    structure_errors,
    typical_errors,
)

SPACING_MM = (4.0, 0.5, 0.5)


def discs(radius_mm: float, slices: slice = slice(2, 8), shape: tuple[int, ...] = (10, 60, 60)) -> NDArray[np.bool_]:
    """The same disc in some slices that are 4 mm apart, of pixels of half a millimetre."""
    _, y, x = np.indices(shape)
    found = ((y - 29.5) ** 2 + (x - 29.5) ** 2) ** 0.5 * 0.5 < radius_mm
    found[: slices.start], found[slices.stop :] = False, False
    return found


@pytest.mark.parametrize("shift_mm", [-2.0, -1.0, 0.0, 1.5, 3.0])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_disc_drawn_too_large_or_too_small_by_some_mm(shift_mm: float, axis: int) -> None:
    volumes = (np.moveaxis(discs(radius), 0, axis) for radius in (8 + shift_mm, 8))
    spacing = [0.5, 0.5, 0.5]
    spacing[axis] = 4.0
    found = structure_errors(*volumes, spacing, axis)
    assert found.shift_mm == pytest.approx(shift_mm, abs=0.1) and found.ends == 0
    assert found.shift_mm == 0 or shift_mm != 0


def test_an_edge_moved_by_hand() -> None:
    """The lower half of 40 x 40 pixels, 2 mm high and 3 mm wide, begins two rows too early: 4 mm."""
    given, likely = np.zeros((2, 1, 40, 40), bool)
    given[0, 18:], likely[0, 20:] = True, True
    found = structure_errors(given, likely, (1.0, 2.0, 3.0), 0)
    assert found.shift_mm == pytest.approx(4.0, rel=0.1) and found.ends is None, "one slice has no ends"
    turned = structure_errors(given.transpose(0, 2, 1), likely.transpose(0, 2, 1), (1.0, 3.0, 2.0), 0)
    assert turned.shift_mm == pytest.approx(found.shift_mm)


@pytest.mark.parametrize("steps_mm", [(0.5, 0.5), (0.5, 1.0), (1.0, 0.5)])
def test_the_length_of_a_circle(steps_mm: tuple[float, float]) -> None:
    y, x = np.indices((90, 90))
    inside = np.hypot((y - 44.7) * steps_mm[0], (x - 44.2) * steps_mm[1]) < 15
    assert contour_mm(np.stack([inside, inside]), steps_mm) == pytest.approx(2 * 2 * np.pi * 15, rel=0.03)


def test_slices_that_are_missing_at_an_end_and_nothing_else() -> None:
    whole = discs(8.0)
    for slices, ends in ((slice(3, 8), 1), (slice(2, 6), 1), (slice(1, 8), -1), (slice(3, 9), 0), (slice(2, 8), 0)):
        found = structure_errors(discs(8.0, slices), whole, SPACING_MM, 0)
        assert found == StructureErrors(0.0, ends), slices
    gap = whole.copy()
    gap[5] = False
    assert structure_errors(gap, whole, SPACING_MM, 0).ends == 0, "a gap is no end"


def test_crumbs_and_objects_elsewhere_are_other_errors() -> None:
    given, likely = discs(8.0), discs(8.0)
    likely[8, 29:31, 29:31] = True  # below a tenth of the largest slice
    given[4, :5, :5] = True  # 15 mm away from all that is likely
    likely[9, 50:, 50:] = True
    found = structure_errors(given, likely, SPACING_MM, 0)
    assert found == StructureErrors(pytest.approx(0, abs=0.05), 0)
    nothing = StructureErrors(None, None)
    assert structure_errors(given & False, likely, SPACING_MM, 0) == nothing
    full = np.ones((1, 4, 4), bool)
    assert structure_errors(full, full, SPACING_MM, 0) == nothing, "no contour, no slice beside it"


def test_classes_that_are_confused_count_by_the_likely_voxels() -> None:
    likely = np.array([[[1, 1, 1, 1, 2, 2, 0, -1]]])
    given = np.array([[[1, 1, 1, 2, 2, 0, 2, -1]]])
    values = {"a": (1,), "b": (2,)}
    about = {"spacing_mm": SPACING_MM, "axis": 0, "score": 0.5}
    assert case_errors(given, likely, values, **about).confused == {("a", "b"): 0.25, ("b", "a"): 0.0}
    assert not case_errors(given, likely, values, **about, exclusive=False).confused
    without = case_errors(np.where(given == 1, 0, given), np.where(likely == 1, 0, likely), values, **about)
    assert without.confused == {("b", "a"): 0.0}


def test_an_audited_case_is_measured_as_it_is_scored() -> None:
    """Rows of one square are missing in one slice of four: contours run inside, no slice is missing."""
    audited, _ = two_squares("case", 3)
    found = audited.errors(0)
    left, right = found.structures.values()
    assert found.score == audited.scores.case
    assert left.shift_mm is not None and left.shift_mm < 0 and left.ends == 0
    assert right.shift_mm is not None and right.shift_mm < 0
    swapped = replace(audited, likely=audited.label.classes).errors(0)
    assert all(one == StructureErrors(0.0, 0) for one in swapped.structures.values())
    assert not any(swapped.confused.values())


def case(
    shift_mm: float | None = 0.0, ends: int | None = 0, score: float = 0.8, confused: float = 0.0, name: str = "organ"
) -> CaseErrors:
    return CaseErrors(score, {name: StructureErrors(shift_mm, ends)}, {("a", "b"): confused, ("b", "a"): 0.01})


def test_a_typical_shift_is_named_with_its_interval() -> None:
    cases = [case(-shift) for shift in (1.5, 2.0, 2.5, 2.0, 2.5, 2.1)]
    low, high = bootstrapped([case.structures["organ"].shift_mm for case in cases])
    (said,) = typical_errors(cases)
    assert said == f"draws 2.1 mm too small ({-high:.1f} to {-low:.1f})"
    assert list(typical_errors([case(1.0)] * 4)) == ["draws 1.0 mm too large (1.0 to 1.0)"]
    two = [replace(one, structures={**one.structures, "other": StructureErrors(None, None)}) for one in cases]
    assert next(typical_errors(two)).startswith("draws organ 2.1 mm too small (")


@pytest.mark.parametrize(
    "cases",
    [
        [case(shift) for shift in (-3.0, 2.5, 0.5, -1.0, 1.5)],  # each in its own way
        [case(0.04)] * 5,  # less than is written down
        [case(-2.0)] * 2,  # too few to tell
        [case(None, None)] * 5,  # nothing in common with the likely label
        [case(ends=end) for end in (1, -1, 1, -1, 0, 0)],
        [case(confused=share) for share in (0.04, 0.03, 0.05, 0.02)],  # where classes touch
    ],
)
def test_what_is_not_typical_is_not_named(cases: list[CaseErrors]) -> None:
    assert not list(typical_errors(cases))


def test_missing_ends_and_confused_classes_in_words() -> None:
    ends = [case(ends=end) for end in (1, 1, 0, 0, 1, 0, 1, 0, 0, 0)]
    assert list(typical_errors(ends)) == ["misses the structure's last slices in 40 % of cases"]
    more = [case(ends=-1)] * 3 + [case()]
    assert list(typical_errors(more)) == ["draws slices beyond the structure's ends in 75 % of cases"]
    confused = [case(confused=share) for share in (0.1, 0.12, 0.14)]
    assert list(typical_errors(confused)) == ["confuses a with b (12 % of a's voxels)"]


def test_the_interval_of_a_mean_is_about_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(1).normal(5, 2, 400)
    low, high = bootstrapped(values.tolist())
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.05)
    assert bootstrapped(values.tolist()) == (low, high), "the same every time"
    assert bootstrapped([0.5]) is None


def test_the_table_has_the_worst_source_first() -> None:
    rows = source_table({"good": [case(score=0.9)], "bad": [case(-2.0, score=score) for score in (0.5, 0.6, 0.7)]})
    assert [row["source"] for row in rows] == ["bad", "good"]
    assert rows[1] == {"source": "good", "cases": 1, "dice": 0.9, "dice_interval": None, "errors": [NO_ERROR]}
    assert rows[0]["dice"] == pytest.approx(0.6) and rows[0]["cases"] == 3
    low, high = rows[0]["dice_interval"]
    assert 0.5 <= low < 0.6 < high <= 0.7 and rows[0]["errors"] == ["draws 2.0 mm too small (2.0 to 2.0)"]
    assert source_table({}) == []
