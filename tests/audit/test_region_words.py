"""The words for regions, and which of them are shown at once."""

from __future__ import annotations

import pytest

from nnunetv2_mlbseg.audit.region_words import in_words, shown

BACK = "background"


@pytest.mark.parametrize(
    ("kind", "whole", "given", "proposed", "slices", "mean_mm", "most_mm", "words"),
    [
        ("missing", True, BACK, "left_atrium", (3, 7), None, None, "left atrium missing on slices 3 to 7"),
        ("missing", False, BACK, "lesion", (4, 4), None, None, "part of lesion missing on slice 4"),
        ("surplus", True, "prostate", BACK, (8, 9), None, None,
         "prostate drawn on slices 8 and 9, where none is expected"),
        ("surplus", False, "prostate", BACK, (0, 0), None, None, "prostate drawn on slice 0, apart from the rest"),
        ("boundary", False, BACK, "prostate", (3, 7), 2.12, 2.9,
         "prostate drawn about 2.1 mm too small on slices 3 to 7"),
        ("boundary", False, "prostate", BACK, (3, 3), -2.0, -4.44,
         "prostate drawn about 2.0 mm (up to 4.4 mm) too large on slice 3"),
        ("other class", False, "core", "whole_tumour", (1, 2), None, None,
         "core that is probably whole tumour, on slices 1 and 2"),
    ],
)  # fmt: skip
def test_a_region_in_words(kind, whole, given, proposed, slices, mean_mm, most_mm, words):
    region = {"kind": kind, "whole_slices": whole, "given": given, "proposed": proposed, "slices": list(slices)}
    assert in_words({**region, "mean_shift_mm": mean_mm, "shift_mm": most_mm}) == words


@pytest.mark.parametrize(
    ("volumes", "expected"),
    [
        ([], 0),
        ([5.0], 1),
        ([900.0, 90.0, 44.0, 43.0], 2),  # 5% of 900 is 45
        ([900.0, 90.0, 5.0], 3),  # one small one alone is shown
        ([10.0] * 25, 10),
        ([10.0] * 11, 11),
        ([1.0] * 50, 10),
    ],
)
def test_large_regions_are_shown_and_small_ones_folded_away(volumes, expected):
    assert shown(volumes) == expected
