"""Which way a patient lies in an image, as far as its header says."""

from __future__ import annotations

import numpy as np

from dataset_conversion.raw.formats import Reading

SIDES = (("R", "L"), ("A", "P"), ("F", "H"))
"""From where to where ITK's axes x, y and z lead: right, left, anterior (front), posterior (back), foot, head."""


def patient_sides(reading: Reading) -> tuple[tuple[str, str], ...] | None:
    """Of each of Z, Y, X of an array, the sides of the patient at its first and at its last voxel.

    Of oblique axes the nearest. None for files without a place in space (pictures, TIFF stacks), or if two axes were
    nearest to the same.
    """
    if not {"sitk_stuff", "nibabel_stuff"} & set(reading.properties):
        return None
    directions = np.reshape(reading.grid.as_volume().directions, (3, 3))
    nearest = np.abs(directions).argmax(axis=0)
    if sorted(nearest.tolist()) != [0, 1, 2]:
        return None
    ways = [SIDES[world][:: 1 if directions[world, axis] > 0 else -1] for axis, world in enumerate(nearest)]
    return tuple((way[0], way[1]) for way in reversed(ways))
