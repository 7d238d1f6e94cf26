"""The classes of a label volume, each in a window of its own with room around it."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from scipy.ndimage import binary_dilation, find_objects

from noise_synthesis.recipes.depth import depth_map
from noise_synthesis.safe_io.volumes import Frame, TightCrop, classes_in

# The random fields of a class reach this many diagonals of its bounding box beyond the box; further out they are flat.
HOME_DIAGONALS = 2

# The strength of every class in mm.
Strengths = Mapping[int, float]
Region = tuple[slice, slice, slice]
# First and last index, the last excluded, along each axis of the volume.
Box = list[tuple[int, int]]
# Looks a thing up under a key, or makes it.
Memory = Callable[[Hashable, Callable[[], Any]], Any]


@dataclass(frozen=True)
class Shape:
    """A class in its window.

    Attributes:
        depth: its depth map (mm, positive inside) in the window, float32.
        start: index in the volume of the window's first voxel.
        frame: where the window lies in what the class's random fields are drawn for.
    """

    depth: np.ndarray
    start: tuple[int, int, int]
    frame: Frame

    @cached_property
    def mask(self) -> np.ndarray:
        """The clean shape."""
        return self.depth > 0

    @cached_property
    def voxels(self) -> int:
        """Size of the clean shape."""
        return int(np.count_nonzero(self.mask))

    @property
    def nbytes(self) -> int:
        """Memory taken."""
        return self.depth.nbytes + self.depth.size


@dataclass(frozen=True)
class Prepared:
    """A crop with room for the corruption, and its classes, the smallest first.

    ``start`` is the index in the volume of the first voxel of ``label``.
    """

    label: np.ndarray
    start: tuple[int, int, int]
    shapes: dict[int, Shape]

    def region(self, value: int) -> Region:
        """Where the window of a class lies in ``label``."""
        shape = self.shapes[value]
        z, y, x = (slice(a - b, a - b + n) for a, b, n in zip(shape.start, self.start, shape.depth.shape, strict=True))
        return z, y, x


def margin_mm(reach_mm: float) -> float:
    """Room around a shape for a reach: the next power of two mm, so that it rarely changes on the way."""
    return float(2.0 ** np.ceil(np.log2(max(reach_mm, 2.0**-6))))


def class_boxes(crop: TightCrop, ignore_label: int | None) -> dict[int, Box]:
    """Return the bounding box of every foreground class, in the volume, classes ascending."""
    label, frame = crop.padded(0.0, per_slice=True)
    classes = classes_in(label, ignore_label)
    if not classes:
        return {}
    values = np.array(classes, dtype=label.dtype)
    numbers = np.minimum(np.searchsorted(values, label), len(values) - 1).astype(np.int32)
    numbers[values[numbers] != label] = -1
    return {
        value: [(low + part.start, low + part.stop) for low, part in zip(frame.start, found, strict=True)]
        for value, found in zip(classes, find_objects(numbers + 1), strict=True)
    }


def extent_mm(box: Box, spacing_mm: tuple[float, float, float]) -> float:
    """Length of a box's diagonal."""
    return math.hypot(*((high - low) * step for (low, high), step in zip(box, spacing_mm, strict=True)))


def prepare(
    crop: TightCrop,
    reaches_mm: Callable[[int], float],
    per_slice: bool,
    ignore_label: int | None,
    among_touching: bool = False,
    memory: Memory = lambda key, make: make(),
) -> Prepared:
    """Pad a crop and measure its shapes, with room for a corruption that reaches ``reaches_mm(class)`` far.

    A single class has the whole padded crop for its window. With ``among_touching`` no window reaches beyond the
    classes that touch its own.
    """
    boxes: dict[int, Box] = memory("boxes", lambda: class_boxes(crop, ignore_label))
    margins = {value: margin_mm(reaches_mm(value)) for value in boxes}
    widest = max(margins.values(), default=0.0)
    label, frame = memory(("label", widest), lambda: crop.padded(widest, per_slice))
    if len(boxes) == 1:
        value = next(iter(boxes))
        shape = memory((value, widest), lambda: Shape(depth_map(label == value, frame), frame.start, frame))
        return Prepared(label, frame.start, {value: shape})
    ends = memory("ends", lambda: _ends(label, frame, boxes)) if among_touching else {}
    shapes = {
        value: memory((value, margin), partial(_shape, label, value, boxes[value], margin, frame, ends.get(value)))
        for value, margin in margins.items()
    }
    return Prepared(label, frame.start, dict(sorted(shapes.items(), key=lambda item: (item[1].voxels, item[0]))))


def touched_by(label: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the values of a label, without background, in a mask and beside it."""
    own = tuple(slice(max(part.start - 1, 0), part.stop + 1) for part in find_objects(mask.view(np.uint8))[0])
    values = np.unique(label[own][binary_dilation(mask[own])])
    return values[values != 0]


def _ends(label: np.ndarray, frame: Frame, boxes: Mapping[int, Box]) -> dict[int, Box]:
    """Return for every class the box around it and all classes that touch it, one voxel wider."""
    result = {}
    for value, box in boxes.items():
        z, y, x = (
            slice(low - start, high - start)
            for (low, high), start in zip(_widened(box, 0.0, frame), frame.start, strict=True)
        )
        touched = [
            boxes[other] for other in touched_by(label[z, y, x], label[z, y, x] == value).tolist() if other in boxes
        ]
        around = [
            (min(low for low, _ in sides), max(high for _, high in sides)) for sides in zip(*touched, strict=True)
        ]
        result[value] = _widened(around, 0.0, frame)
    return result


def _shape(label: np.ndarray, value: int, box: Box, room_mm: float, frame: Frame, ends: Box | None) -> Shape:
    """Cut the window of a class, which goes no further than ``ends``, out of a padded crop and measure the class."""
    window = _widened(box, room_mm, frame)
    if ends is not None:
        window = [(max(a, low), min(b, high)) for (a, b), (low, high) in zip(window, ends, strict=True)]
    home = _widened(box, HOME_DIAGONALS * extent_mm(box, frame.spacing_mm), frame)
    z, y, x = (slice(a - low, b - low) for (a, b), low in zip(window, frame.start, strict=True))
    start = (window[0][0], window[1][0], window[2][0])
    in_home = (start[0] - home[0][0], start[1] - home[1][0], start[2] - home[2][0])
    home_shape = (home[0][1] - home[0][0], home[1][1] - home[1][0], home[2][1] - home[2][0])
    own = Frame(in_home, home_shape, frame.spacing_mm, frame.per_slice)
    return Shape(depth_map(label[z, y, x] == value, own), start, own)


def _widened(box: Box, room_mm: float, frame: Frame) -> Box:
    """Give a box room on all sides as far as the volume goes; none across slices that are pictures of their own."""
    result = []
    for axis, (low, high) in enumerate(box):
        room = 0 if frame.per_slice and axis == 0 else 1 + math.ceil(room_mm / frame.spacing_mm[axis])
        result.append((max(low - room, 0), min(high + room, frame.volume_shape[axis])))
    return result
