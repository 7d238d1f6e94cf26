"""What a noise recipe is: parameters drawn once, then applied with a strength in mm."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from noise_synthesis.recipes.depth import class_depths, merge_depths
from noise_synthesis.safe_io.volumes import Frame, LabelVolume, TightCrop, classes_in, tight_crop

# Parameters of one class, JSON-ready, and of a case: class value as text -> its parameters.
ClassParameters = dict[str, Any]
Parameters = dict[str, ClassParameters]


@dataclass(frozen=True)
class Recipe(ABC):
    """One kind of label error.

    ``draw`` takes all random decisions, none of which depends on the strength; ``apply`` is then a deterministic
    function of the strength (common random numbers), which calibration needs and which keeps the kind of error of a
    case the same at every level. A recipe's own constants are its dataclass fields.
    """

    name: ClassVar[str]
    summary: ClassVar[str]

    def draw(self, rng: np.random.Generator, classes: list[int]) -> Parameters:
        """Draw the parameters of a case, for each class on its own."""
        return {str(value): self.draw_class(rng) for value in classes}

    @abstractmethod
    def draw_class(self, rng: np.random.Generator) -> ClassParameters:
        """Draw the parameters of one class, ready for JSON."""

    @abstractmethod
    def deform_class(
        self, depth: np.ndarray, parameters: ClassParameters, strength_mm: float, frame: Frame
    ) -> np.ndarray:
        """Return the depth map (mm, positive inside) of a class's corrupted shape; strength 0 keeps the shape."""

    def deform(
        self, depths: dict[int, np.ndarray], parameters: Parameters, strength_mm: float, frame: Frame
    ) -> dict[int, np.ndarray]:
        """Return the corrupted depth map of every class that is there."""
        return {
            value: self.deform_class(depth, parameters[str(value)], strength_mm, frame) if (depth > 0).any() else depth
            for value, depth in depths.items()
        }

    def require_applicable(self, classes: list[int]) -> None:  # noqa: B027
        """Raise an ``InputError`` where these foreground classes leave the recipe nothing to do."""

    def reach_mm(self, strength_mm: float) -> float:
        """How far outside the clean shapes a corrupted one can lie at most."""
        return 2 * strength_mm

    def settings(self) -> dict[str, Any]:
        """The recipe's constants, for provenance."""
        return asdict(self)

    def apply(
        self,
        label: np.ndarray,
        parameters: Parameters,
        strength_mm: float,
        spacing_mm: tuple[float, float, float],
        per_slice: bool,
        ignore_label: int | None = None,
    ) -> np.ndarray:
        """Return the corrupted label, a new array with the shape (z, y, x) and dtype of ``label``.

        Ignored voxels stay ignored, and a label without foreground stays as it is.
        """
        corrupted = label.copy()
        crop = tight_crop(LabelVolume(label, spacing_mm))
        if strength_mm <= 0 or crop is None:
            return corrupted
        prepared = prepare(crop, self, strength_mm, per_slice, ignore_label)
        if prepared.depths:
            region = tuple(slice(s, s + n) for s, n in zip(prepared.frame.start, prepared.label.shape, strict=True))
            corrupted[region] = self.corrupt(prepared, parameters, strength_mm, ignore_label)
        return corrupted

    def corrupt(
        self, prepared: Prepared, parameters: Parameters, strength_mm: float, ignore_label: int | None
    ) -> np.ndarray:
        """Corrupt a prepared crop; the label map of the crop, int64."""
        if strength_mm <= 0:
            return prepared.label.astype(np.int64)
        deformed = self.deform(prepared.depths, parameters, strength_mm, prepared.frame)
        label = merge_depths(deformed, prepared.depths)
        if ignore_label is not None:
            label[prepared.label == ignore_label] = ignore_label
        return label


@dataclass(frozen=True)
class Prepared:
    """A crop with room for the corruption, and the depth map of each of its classes."""

    label: np.ndarray
    frame: Frame
    depths: dict[int, np.ndarray]

    @property
    def size_bytes(self) -> int:
        """Memory taken."""
        return self.label.nbytes + sum(depth.nbytes for depth in self.depths.values())


def margin_mm(recipe: Recipe, strength_mm: float) -> float:
    """Room around the foreground for a strength: the next power of two mm, so that it rarely changes on the way."""
    reach = max(recipe.reach_mm(strength_mm), 2.0**-6)
    return float(2.0 ** np.ceil(np.log2(reach)))


def prepare(crop: TightCrop, recipe: Recipe, strength_mm: float, per_slice: bool, ignore_label: int | None) -> Prepared:
    """Pad a crop for a recipe's strength and measure its shapes."""
    label, frame = crop.padded(margin_mm(recipe, strength_mm), per_slice)
    return Prepared(label, frame, class_depths(label, classes_in(label, ignore_label), frame))
