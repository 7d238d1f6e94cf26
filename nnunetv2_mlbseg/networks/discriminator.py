"""A critic: a network that looks at an image and a map of its pixels, and says which of two kinds the map is of."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from nnunetv2_mlbseg.networks.dropout import Uniform, drop_channels

FEATURES = (64, 128, 256, 512)
SLOPE, DROPOUT = 0.2, 0.5
CONVOLUTIONS: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
SMOOTHLY = {2: "bilinear", 3: "trilinear"}


class Critic(nn.Module):
    """Two convolutions, of the map and of the image, whose sum passes three more; the mean over pixels is classified.

    As in the code of SSL4MIS and SASSNet (convolutions of 4 x 4 with a stride of 2, leaky ReLU, dropout of channels),
    but that the mean is over all pixels, so that patches of any size will do. It has no normalisation, and treats every
    image by itself.

    Args:
        maps: Channels of the map.
        channels: Channels of the image.
        dims: Spatial dimensions.
        everywhere: Whether it judges every pixel by its surroundings, in place of the whole.
    """

    def __init__(self, maps: int, channels: int, dims: int, everywhere: bool = False):
        super().__init__()
        self.everywhere = everywhere
        convolution = CONVOLUTIONS[dims]
        self.of_map = convolution(maps, FEATURES[0], 4, 2, 1)
        self.of_image = convolution(channels, FEATURES[0], 4, 2, 1)
        pairs = pairwise(FEATURES)
        self.further = nn.ModuleList(convolution(below, above, 4, 2, 1) for below, above in pairs)
        self.classifier = nn.Linear(FEATURES[-1], 2)

    def forward(self, maps: Tensor, images: Tensor, uniform: Uniform | None) -> Tensor:
        """Logits (B, 2), or (B, 2, *S), of a map (B, maps, *S) of each image (B, channels, *S).

        Args:
            uniform: Draws the dropout. None: nothing is dropped.
        """
        found = F.leaky_relu(self.of_map(_even(maps)) + self.of_image(_even(images)), SLOPE)
        for layer in self.further:
            found = found if uniform is None else drop_channels(found, DROPOUT, uniform)
            found = F.leaky_relu(layer(_even(found)), SLOPE)
        if self.everywhere:
            judged = self.classifier(found.movedim(1, -1)).movedim(-1, 1)
            return F.interpolate(judged, size=maps.shape[2:], mode=SMOOTHLY[maps.ndim - 2])
        logits: Tensor = self.classifier(found.flatten(2).mean(dim=2))
        return logits


def _even(features: Tensor) -> Tensor:
    """A row or column of zeros at the end of every odd side, so that a side of 1 is still enough."""
    padding = [side for length in reversed(features.shape[2:]) for side in (0, length % 2)]
    return F.pad(features, padding) if any(padding) else features
