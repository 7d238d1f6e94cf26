"""What the labels of a dataset name: classes that exclude each other, or regions, which may share label values.

A region is a list of values in ``labels`` of dataset.json, as nnU-Net has it. A label file stays a map of values:
``regions_class_order`` names, for each region in the order of ``labels``, the value it is painted with, over those
before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import read_json

ORDER = "regions_class_order"


@dataclass(frozen=True)
class Structures:
    """Classes or regions.

    Attributes:
        values: By name the label values of each, in the order of a network's outputs; background and ignore apart.
        order: The value that each region is painted with; None where classes exclude each other.
        ignore: The value that means "no label", if there is one.
    """

    values: Mapping[str, tuple[int, ...]]
    order: tuple[int, ...] | None = None
    ignore: int | None = None

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> Structures:
        """Of a dataset.json without a problem (see :func:`problems_of`)."""
        labels, ignore = description["labels"], description["labels"].get("ignore")
        named = {name: as_values(value) for name, value in labels.items() if name not in ("background", "ignore")}
        if not has_regions(labels):
            return cls(dict(sorted(named.items(), key=lambda one: one[1])), None, ignore)
        return cls(named, tuple(int(value) for value in description[ORDER]), ignore)

    @property
    def regions(self) -> int:
        """How many; 0 where classes exclude each other."""
        return 0 if self.order is None else len(self.values)

    def masks(self, label: NDArray[np.integer]) -> Iterator[NDArray[np.bool_]]:
        """Where each of them is."""
        return (np.isin(label, own) for own in self.values.values())

    def painted(self, masks: Sequence[NDArray[np.bool_]], like: NDArray[np.integer]) -> NDArray[np.integer]:
        """A label map of masks of the regions; where they are those of the map ``like``, that map."""
        assert self.order is not None, "classes are not painted over each other"
        label, same = np.zeros_like(like), np.ones(like.shape, bool)
        for mask, value, before in zip(masks, self.order, self.masks(like), strict=True):
            label[mask] = value
            same &= mask == before
        return np.where(same, like, label)


def as_values(value: Any) -> tuple[int, ...]:
    """One value, or a list of them, of ``labels`` in dataset.json."""
    return tuple(int(entry) for entry in value) if isinstance(value, (list, tuple)) else (int(value),)


def all_values(labels: Mapping[str, Any]) -> list[int]:
    """Every value that a label file may have, ascending."""
    return sorted({one for value in labels.values() for one in as_values(value)})


def has_regions(labels: Mapping[str, Any]) -> bool:
    """Whether nnU-Net trains on regions: any name has several values."""
    return any(isinstance(value, (list, tuple)) and len(value) > 1 for value in labels.values())


def problems_of(description: Mapping[str, Any]) -> Iterator[str]:
    """Say what is wrong with ``labels`` and ``regions_class_order`` of a dataset.json."""
    labels = description["labels"]
    values = all_values(labels)
    if values != list(range(len(values))) or labels.get("background") != 0:
        yield (
            f"dataset.json: label values {values}; expected 0, 1, 2, ... with background 0: renumber them there and in "
            "the label files"
        )
    if "ignore" in labels and labels["ignore"] != values[-1]:
        yield "dataset.json: 'ignore' must be the highest label value"
    if has_regions(labels):
        yield from _region_problems(labels, description.get(ORDER))


def _region_problems(labels: Mapping[str, Any], order: Any) -> Iterator[str]:
    named = {name: set(as_values(value)) for name, value in labels.items() if name not in ("background", "ignore")}
    if not isinstance(order, list) or not all(type(value) is int for value in order) or len(order) != len(named):
        yield (
            f"dataset.json: '{ORDER}' is {order!r:.100}; expected a list of {len(named)} label values, one for each "
            f"region, {', '.join(named)}: the value that the region is painted with, over those before it"
        )
        return
    shared = {name for name, own in named.items() if own & {0, labels.get("ignore")}}
    if shared:
        yield f"dataset.json: region {', '.join(shared)} has the value of background or ignore, expected others"
        return
    inside = {value: [name for name, own in named.items() if value in own] for value in all_values(labels)}
    for value, names in inside.items():
        last = dict(zip(named, order, strict=True)).get(names[-1]) if names else value
        if last is None or inside.get(last) != names:
            yield (
                f"dataset.json: '{ORDER}' {order} paints label value {value}, which is in {' and '.join(names)}, as "
                f"{last}, which is not in the same regions; expected an order in which inner regions come last and "
                f"each has a value of its own (regions in which neither holds the other need a value for their overlap)"
            )
            return


def regions_beside(folder: Path) -> Structures | None:
    """The regions that a ``dataset.json`` in, or beside, a folder of label files defines; None if none does.

    Raises:
        InputError: nnU-Net cannot train on them.
    """
    places = (place / "dataset.json" for place in (folder, folder.absolute().parent))
    path = next((path for path in places if path.is_file()), None)
    description: Any = {} if path is None else read_json(path)
    labels = description.get("labels") if isinstance(description, dict) else None
    if not isinstance(labels, dict) or not has_regions(labels):
        return None
    refuse_problems(description, str(path))
    return Structures.of(description)


def refuse_problems(description: Mapping[str, Any], where: str) -> None:
    """Raise ``InputError`` if nnU-Net cannot train on the labels; ``where`` begins the line."""
    for problem in problems_of(description):
        raise InputError(f"{where}: {problem}")
