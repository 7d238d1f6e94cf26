"""What a noise recipe is: parameters drawn once, then applied with a strength in mm."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from noise_synthesis.recipes.merging import Claims, merge_claims
from noise_synthesis.recipes.shapes import Prepared, Strengths, prepare
from noise_synthesis.safe_io.volumes import Frame, LabelVolume, tight_crop

# Claims are measured in units of the strength; with less than this they are not.
LEAST_STRENGTH_MM = 1e-6

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
    # Whether classes only swap voxels with those that touch them, and so may have parts cut off from their own.
    swaps: ClassVar[bool] = False

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

    def require_applicable(self, classes: list[int]) -> None:  # noqa: B027
        """Raise an ``InputError`` where these foreground classes leave the recipe nothing to do."""

    def reach_mm(self, strength_mm: float) -> float:
        """How far outside the clean shapes a corrupted one can lie at most."""
        return 2 * strength_mm

    def settings(self) -> dict[str, Any]:
        """The recipe's constants, for provenance."""
        return asdict(self)

    def claim(self, value: int, prepared: Prepared, parameters: ClassParameters, strength_mm: float) -> np.ndarray:
        """Return how strongly a class claims each voxel of its window: its corrupted depth in units of its strength.

        By that unit a thin class, which has little strength, stands up to a thick one.
        """
        shape = prepared.shapes[value]
        deformed = self.deform_class(shape.depth, parameters, strength_mm, shape.frame)
        return deformed / np.float32(max(strength_mm, LEAST_STRENGTH_MM))

    def floor(self, prepared: Prepared, ignore_label: int | None) -> np.ndarray:
        """Return what a claim must exceed at each voxel of the crop, float32."""
        return np.zeros(prepared.label.shape, dtype=np.float32)

    def apply(
        self,
        label: np.ndarray,
        parameters: Parameters,
        strength_mm: float | Strengths,
        spacing_mm: tuple[float, float, float],
        per_slice: bool,
        ignore_label: int | None = None,
    ) -> np.ndarray:
        """Return the corrupted label, a new array with the shape (z, y, x) and dtype of ``label``.

        ``strength_mm`` is the strength of every class, or one for all. Ignored voxels stay ignored, a label without
        foreground stays as it is, and no class that is there vanishes.
        """
        corrupted = label.copy()
        crop = tight_crop(LabelVolume(label, spacing_mm))
        if crop is None:
            return corrupted
        prepared = prepare(crop, self.reach_of(strength_mm), per_slice, ignore_label, self.swaps)
        if prepared.shapes:
            region = tuple(slice(s, s + n) for s, n in zip(prepared.start, prepared.label.shape, strict=True))
            corrupted[region] = self.corrupt(prepared, parameters, strength_mm, ignore_label)
        return corrupted

    def corrupt(
        self, prepared: Prepared, parameters: Parameters, strength_mm: float | Strengths, ignore_label: int | None
    ) -> np.ndarray:
        """Corrupt a prepared crop; the label map of the crop."""
        if all(strength_of(strength_mm, value) <= 0 for value in prepared.shapes):
            return prepared.label
        return self.merge(prepared, self.claims(prepared, parameters, strength_mm), ignore_label)

    def claims(self, prepared: Prepared, parameters: Parameters, strength_mm: float | Strengths) -> Claims:
        """Return the claim of every class, before any takes from another."""
        return {
            value: self.claim(value, prepared, parameters[str(value)], strength_of(strength_mm, value))
            for value in prepared.shapes
        }

    def merge(self, prepared: Prepared, claims: Claims, ignore_label: int | None) -> np.ndarray:
        """Turn the claims of all classes into the label map of the crop."""
        floor = self.floor(prepared, ignore_label)
        if ignore_label is None:
            return merge_claims(prepared, claims, floor, may_leap=self.swaps)
        ignored = prepared.label == ignore_label
        floor[ignored] = np.inf
        label = merge_claims(prepared, claims, floor, may_leap=self.swaps)
        label[ignored] = ignore_label
        return label

    def reach_of(self, strength_mm: float | Strengths) -> Callable[[int], float]:
        """How far outside the clean shape of a class the corrupted one can lie, as a function of the class."""
        return lambda value: self.reach_mm(strength_of(strength_mm, value))


def strength_of(strength_mm: float | Strengths, value: int) -> float:
    """Return the strength of a class, where there is one for each or one for all."""
    return strength_mm[value] if isinstance(strength_mm, Mapping) else strength_mm
