"""UNet++ (Zhou et al. 2018), the paper's backbone, from MONAI, in the shape nnU-Net expects of a network."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from noise_synthesis.safe_io.errors import InputError

LEVELS = 5
"""Resolutions of UNet++; each halves the one before."""

SMALLEST_SIZE = 2 ** (LEVELS - 1) * 2
"""Pixels along an axis that leave two at the coarsest level: instance norm needs more than one value per channel."""


class UNetPlusPlus(nn.Module):
    """MONAI's ``BasicUNetPlusPlus`` with one output, the node of full depth.

    Any input of at least 32 pixels along each axis will do: where halving does not come out even, MONAI repeats the
    last row or column on the way up. UNet++'s own deep supervision (four heads, all at full resolution) is not
    nnU-Net's and stays off; MONAI builds the heads of the three shallower nodes all the same, and they take no part.

    Args:
        input_channels, num_classes: As in nnU-Net's networks.
        features: Channels at each resolution of the plan, finest first. Five are needed: a longer list is cut, the last
            number of a shorter one repeated.

    Raises:
        InputError: MONAI is not installed.
    """

    def __init__(self, input_channels: int, num_classes: int, features: Sequence[int], spatial_dims: int = 2):
        super().__init__()
        try:
            from monai.networks.nets import BasicUNetPlusPlus
        except ImportError:
            raise InputError("UNet++ comes from MONAI, which is not installed: pip install monai") from None
        channels = [features[min(level, len(features) - 1)] for level in range(LEVELS)]
        self.nodes = BasicUNetPlusPlus(
            spatial_dims=spatial_dims,
            in_channels=input_channels,
            out_channels=num_classes,
            features=(*channels, channels[0]),
            deep_supervision=False,
        )

    def forward(self, images: Tensor) -> Tensor:
        """Images ``(B, channels, *S)`` to logits ``(B, classes, *S)``."""
        return self.nodes(images)[0]


def check_patch_size(patch_size: Sequence[int]) -> None:
    """Refuse patches that leave a single pixel at the coarsest level.

    Raises:
        InputError: a side is too short.
    """
    if min(patch_size) < SMALLEST_SIZE:
        raise InputError(
            f"patch_size is {list(patch_size)}, expected at least {SMALLEST_SIZE} along each axis for UNet++, which "
            f"halves the resolution {LEVELS - 1} times; change patch_size in the plans file"
        )
