"""The patient's sides, by headers written by hand."""

from __future__ import annotations

import numpy as np
import pytest
from audit_support import reading

from dataset_conversion.raw.formats import Reading
from nnunetv2_mlbseg.audit.orientation import patient_sides

LABEL = np.zeros((2, 3, 4))
OBLIQUE = (0.9, -0.436, 0.0, 0.436, 0.9, 0.0, 0.0, 0.0, -1.0)  # turned by 26 degrees, slices from head to foot


@pytest.mark.parametrize(
    ("direction", "sides"),
    [
        ((1, 0, 0, 0, 1, 0, 0, 0, 1), (("F", "H"), ("A", "P"), ("R", "L"))),
        ((-1, 0, 0, 0, -1, 0, 0, 0, 1), (("F", "H"), ("P", "A"), ("L", "R"))),
        ((0, 0, 1, 1, 0, 0, 0, -1, 0), (("R", "L"), ("H", "F"), ("A", "P"))),  # sagittal slices
        (OBLIQUE, (("H", "F"), ("A", "P"), ("R", "L"))),
    ],
)
def test_sides_of_z_y_and_x(direction, sides):
    found = reading(LABEL)
    found.properties["sitk_stuff"]["direction"] = direction
    assert patient_sides(found) == sides


def test_a_picture_has_no_sides():
    assert patient_sides(Reading(LABEL[None], {"spacing": [1.0, 1.0, 1.0]})) is None
