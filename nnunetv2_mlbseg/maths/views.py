"""Invertible views of an image batch (the augmentations tau_q of Eq. 10 and 11).

Parameters are drawn first (`draw_views`), then applied as often as needed (`Views`). Coordinates are those of
`torch.nn.functional.affine_grid` with ``align_corners=False``: -1 and 1 are the outer edges of the frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nnunetv2_mlbseg.maths.labels import IGNORE
from nnunetv2_mlbseg.maths.tensors import at_least_float32

VIEW_NAMES = ("zoom_in", "zoom_out", "flip")
"""The kinds of view that can be drawn."""


@dataclass(frozen=True)
class Views:
    """V = Q + 1 views of a batch of B images in D = 2 or 3 dimensions. View 0 is the identity.

    Attributes:
        matrices: (V, B, D, D + 1) float32, maps coordinates in the view to coordinates in the image.
        inverses: (V, B, D, D + 1) float32, maps coordinates in the image to coordinates in the view.

    The geometry carries no gradient; images and maps do. Results are float32 (float64 for float64 input). Sampling
    positions are kept once they are computed: a step needs each of them several times. Maps may be G times as many as
    images, those of an image one after the other (see `maths/label_space`); B then stands for B*G.
    """

    matrices: Tensor
    inverses: Tensor
    _kept: dict[Any, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return self.matrices.shape[0]

    def rows(self, images: slice) -> Views:
        """The views of a part of the batch."""
        return Views(self.matrices[:, images], self.inverses[:, images])

    def apply(self, images: Tensor) -> Tensor:
        """Show ``images`` (B, C, *S) in every view: (V*B, C, *S), view-major, linear, zeros outside the image.

        The first B results are the images, bit for bit.
        """
        images = at_least_float32(images)
        return torch.cat([images, *self._shown(images, "bilinear")])

    def apply_labels(self, labels: Tensor) -> Tensor:
        """Show ``labels`` (B, *S) int64 in every view: (V*B, *S), nearest neighbour, IGNORE outside the image."""
        labels = labels.clamp_min(IGNORE)
        # Shifted by one, the zeros that sampling puts outside are the IGNORE that belongs there.
        shifted = (labels - IGNORE).unsqueeze(1).to(torch.float32)
        shown = self._shown(shifted, "nearest")
        return torch.cat([labels, *(view.squeeze(1).to(labels.dtype) + IGNORE for view in shown)])

    def _shown(self, images: Tensor, mode: str) -> list[Tensor]:
        grids = self._grid("matrices", images.shape[2:], images.dtype)
        return [self._sampled(images, grid, mode, "zeros") for grid in grids[1:]]

    def _sampled(self, maps: Tensor, grid: Tensor, mode: str, padding: str) -> Tensor:
        """Maps at the sampling positions of their images; several of one image are sampled as its channels."""
        of_images = maps.reshape(grid.shape[0], -1, *maps.shape[2:])
        return _sample(of_images, grid, mode, padding).reshape(maps.shape)

    def invert(self, maps: Tensor) -> Tensor:
        """Bring ``maps`` (V*B, C, *S), one per view, back to the image's frame (tau_q^-1): (V, B, C, *S).

        Linear; 0 at pixels that the view does not cover (see `covered`).
        """
        maps = at_least_float32(maps).unflatten(0, (len(self), -1))
        covered = self.covered(maps.shape[3:], maps.shape[1]).unsqueeze(2)
        grids = self._grid("inverses", maps.shape[3:], maps.dtype)
        # Edge values are held in the outermost half pixel, so that probabilities still add up to one there.
        shown, *others = maps.unbind(0)
        returned = [
            self._sampled(view, grid, "bilinear", "border") * inside
            for view, grid, inside in zip(others, grids[1:], covered[1:], strict=True)
        ]
        return torch.stack([shown, *returned])

    def covered(self, spatial_shape: Sequence[int], maps: int | None = None) -> Tensor:
        """Which pixels of the image each view shows: (V, B, *S) bool, true where the centre lies in the view.

        Args:
            maps: their number, a multiple of that of the images; None: one for each.
        """
        key = ("covered", tuple(spatial_shape))
        if key not in self._kept:
            self._kept[key] = (self._grid("inverses", spatial_shape, torch.float32).abs() <= 1).all(dim=-1)
        images = self.matrices.shape[1]
        groups = (maps or images) // images
        if groups == 1:
            return self._kept[key]
        return self._kept[key].unsqueeze(2).expand(-1, -1, groups, *[-1] * len(spatial_shape)).flatten(1, 2)

    def _grid(self, which: str, spatial_shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Sampling positions of all views, (V, B, *S, D)."""
        key = (which, tuple(spatial_shape), dtype)
        if key not in self._kept:
            matrices: Tensor = getattr(self, which)
            self._kept[key] = _sampling_grid(matrices.flatten(0, 1), spatial_shape, dtype).unflatten(
                0, matrices.shape[:2]
            )
        return self._kept[key]


def draw_views(
    names: Sequence[str],
    batch_size: int,
    spatial_dims: int,
    generator: torch.Generator,
    *,
    zoom_in: tuple[float, float] = (1.1, 1.4),
    zoom_out: tuple[float, float] = (0.7, 0.9),
    count: int | None = None,
    flat: bool = False,
    flip_axes: Sequence[int] | None = None,
    device: torch.device | str = "cpu",
) -> Views:
    """Draw the identity and one view per name, with parameters of its own for every image.

    Args:
        names: the Q kinds of view, each one of `VIEW_NAMES`; may be empty (only the identity).
        batch_size: B, number of images.
        spatial_dims: D, 2 or 3.
        generator: a CPU generator; its seed fixes the result on every device.
        zoom_in: range of the magnification f of a plane, above 1: the view shows 1/f² of the image enlarged.
        zoom_out: range of the magnification, below 1: the whole image is shown smaller and fills f² of the view.
        count: so many of the names are drawn, without replacement and for the whole batch; None: all.
        flat: zooms leave the first of three axes alone, along which slices are far apart.
        flip_axes: spatial axes that a flip may mirror, one or more; None: all.
        device: where the images are.

    Where zooms change three axes, each of them by f to the power 2/3: the shares are those of a plane.

    Raises:
        ValueError: an unknown name.
    """
    unknown = [name for name in names if name not in VIEW_NAMES]
    if unknown:
        raise ValueError(f"unknown view {unknown[0]!r}, expected one of {', '.join(VIEW_NAMES)}")
    draw: dict[str, Callable[[], Tensor]] = {
        "zoom_in": lambda: _draw_zoom(zoom_in, batch_size, spatial_dims, generator, flat),
        "zoom_out": lambda: _draw_zoom(zoom_out, batch_size, spatial_dims, generator, flat),
        "flip": lambda: _draw_flip(flip_axes, batch_size, spatial_dims, generator),
    }
    identity = torch.ones(batch_size, spatial_dims, dtype=torch.float64)
    linear = torch.stack([identity, *(draw[name]() for name in names)]).diag_embed()
    if count is not None:
        drawn = torch.randperm(len(names), generator=generator)[:count].sort().values
        linear = linear.index_select(0, F.pad(drawn + 1, (1, 0)))  # the identity, 0, is first
    inverse = torch.linalg.inv(linear)  # on the CPU: on a GPU it would wait for the device to report errors
    return Views(_to_device(F.pad(linear, (0, 1)), device), _to_device(F.pad(inverse, (0, 1)), device))


def _draw_zoom(
    factors: tuple[float, float], batch_size: int, spatial_dims: int, generator: torch.Generator, flat: bool
) -> Tensor:
    low, high = factors
    zoomed = spatial_dims - flat
    uniform = torch.rand(batch_size, 1, generator=generator, dtype=torch.float64)
    scales = ((low + (high - low) * uniform) ** (2 / zoomed)).reciprocal().expand(batch_size, zoomed)
    return F.pad(scales, (0, spatial_dims - zoomed), value=1.0)  # the last coordinate runs along the first axis


def _draw_flip(axes: Sequence[int] | None, batch_size: int, spatial_dims: int, generator: torch.Generator) -> Tensor:
    coordinates = sorted(spatial_dims - 1 - axis for axis in (range(spatial_dims) if axes is None else axes))
    drawn = torch.randint(len(coordinates), (batch_size, 1), generator=generator)
    mirrored = torch.tensor(coordinates)[drawn]
    return torch.ones(batch_size, spatial_dims, dtype=torch.float64).scatter(1, mirrored, -1.0)


def _to_device(matrices: Tensor, device: torch.device | str) -> Tensor:
    matrices = matrices.to(torch.float32)
    if torch.device(device).type != "cuda":
        return matrices.to(device)
    # From pinned memory the copy is queued; from ordinary memory the host would wait for the GPU.
    return matrices.pin_memory().to(device, non_blocking=True)


def _sampling_grid(matrices: Tensor, spatial_shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
    """`affine_grid` (N, *S, D) without a matrix product, which autocast and TF32 would compute coarsely."""
    dims = len(spatial_shape)
    axes = []
    for position, size in enumerate(spatial_shape):
        shape = [1] * dims
        shape[position] = size
        centres = (2 * torch.arange(size, device=matrices.device, dtype=dtype) + 1) / size - 1
        axes.append(centres.reshape(shape))
    axes.reverse()  # coordinate 0 runs along the last axis
    rows = matrices.to(dtype).reshape(-1, dims, dims + 1, *[1] * dims)
    components = [
        sum((rows[:, i, j] * axes[j] for j in range(dims)), rows[:, i, dims]).expand(-1, *spatial_shape)
        for i in range(dims)
    ]
    return torch.stack(components, dim=-1)


def _sample(maps: Tensor, grid: Tensor, mode: str, padding: str) -> Tensor:
    return F.grid_sample(maps, grid, mode=mode, padding_mode=padding, align_corners=False)
