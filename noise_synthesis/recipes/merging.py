"""From one corrupted shape per class to one label map, in which no class leaps over another and each keeps a core."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from scipy.ndimage import generate_binary_structure
from scipy.ndimage import label as connected_components

from noise_synthesis.recipes.shapes import Prepared

# The share of a class that its neighbours leave to it.
CORE_SHARE = 0.1

# Per class how strongly it claims each voxel of its window, float32.
Claims = Mapping[int, np.ndarray]


def merge_claims(prepared: Prepared, claims: Claims, floor: np.ndarray, may_leap: bool = False) -> np.ndarray:
    """Turn one claim per class into one label map of the shape and dtype of ``prepared.label``.

    A voxel belongs to the class with the highest claim, and to the background where no claim exceeds ``floor``
    (float32, shape of the label). A tie goes to the class in whose clean shape the voxel lies deepest, a tie in that as
    well to the smaller clean shape. Two neighbours that grow alike thus keep their common border. What a class would
    have on the far side of another one, cut off from its clean shape, it does not get unless it ``may_leap``. A class
    to which its neighbours leave less than ``CORE_SHARE`` of what it had, or of which nothing is left, gets its core
    back.
    """
    label, highest = _highest(prepared, claims, floor)
    if len(claims) > 1 and not may_leap:
        leaps = {value: _beyond_others(value, label, claims[value], prepared, floor) for value in claims}
        leaps = {value: leap for value, leap in leaps.items() if leap.any()}
        if leaps:
            cut = {value: np.where(leap, np.float32(-np.inf), claims[value]) for value, leap in leaps.items()}
            claims = {**claims, **cut}
            label, highest = _highest(prepared, claims, floor)
    # A core may cover what a class of another clean shape had left, which then gets its own, in which it stays.
    while any([_keep_core(value, claim, label, prepared, floor, highest) for value, claim in claims.items()]):
        pass
    return label


def _highest(prepared: Prepared, claims: Claims, floor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the label map of the highest claims, and the highest claim at every voxel."""
    label = np.zeros_like(prepared.label)
    highest = floor.copy()
    clean_depth = np.full(label.shape, -np.inf, dtype=np.float32)
    for value, shape in prepared.shapes.items():
        region, claim = prepared.region(value), claims[value]
        wins = claim > highest[region]
        wins |= (claim == highest[region]) & (label[region] != 0) & (shape.depth > clean_depth[region])
        label[region][wins] = value
        highest[region][wins] = claim[wins]
        clean_depth[region][wins] = shape.depth[wins]
    return label, highest


def _beyond_others(
    value: int, label: np.ndarray, claim: np.ndarray, prepared: Prepared, floor: np.ndarray
) -> np.ndarray:
    """Return the voxels that others cut off from the clean shape of a class; a single ``False`` if they took none.

    Pieces that had no connection before (false ones, or a class that lies elsewhere altogether) are not meant.
    """
    region, shape = prepared.region(value), prepared.shapes[value]
    claimed, got = claim > floor[region], label[region] == value
    if np.count_nonzero(claimed) == np.count_nonzero(got):
        return np.array(False)
    structure = generate_binary_structure(3, 1)
    if shape.frame.per_slice:
        structure[[0, 2]] = False
    was_attached = _attached(claimed, shape.mask, structure)
    return got & was_attached & ~_attached(got, shape.mask, structure)


def _attached(mask: np.ndarray, clean: np.ndarray, structure: np.ndarray) -> np.ndarray:
    """Return the pieces of a mask that meet the clean shape."""
    numbered, count = connected_components(mask, structure)
    attached = np.zeros(count + 1, dtype=bool)
    attached[numbered[clean & mask]] = True
    return attached[numbered]


def _keep_core(
    value: int, claim: np.ndarray, label: np.ndarray, prepared: Prepared, floor: np.ndarray, highest: np.ndarray
) -> bool:
    """Give a class its core back, in place, if too little of it is left; return whether that was so.

    The core is what of its clean shape is nearest to the voxel where its claim is the strongest beside the ``highest``.
    Clean shapes do not overlap, so that a core takes nothing from another.
    """
    shape, region = prepared.shapes[value], prepared.region(value)
    kept = label[region] == value
    had = np.count_nonzero((claim > floor[region]) & shape.mask)
    if kept.any() and np.count_nonzero(kept & shape.mask) >= math.ceil(CORE_SHARE * had):
        return False
    places = np.argwhere(shape.mask)
    centre = places[(claim - highest[region])[shape.mask].argmax()]
    distance = np.linalg.norm((places - centre) * np.asarray(shape.frame.spacing_mm), axis=1)
    core = np.argsort(distance, kind="stable")[: math.ceil(CORE_SHARE * shape.voxels)]
    label[region][tuple(places[core].T)] = value
    return True
