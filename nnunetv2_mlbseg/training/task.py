"""What a method needs to know of data and network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nnunetv2.utilities.label_handling.label_handling import LabelManager
from torch import nn

from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.maths.label_space import LabelSpace


@dataclass(frozen=True)
class Task:
    """What a method needs to know of data and network.

    Attributes:
        channels: Of the network's input.
        classes: C, those that exclude each other: of all outputs, or of a region, which are outside and inside.
        dims: Spatial dimensions of a patch.
        noisy, unlabeled: Numbers of such cases.
        ignore_label: nnU-Net's, or None.
        unshown: Outputs of which the clean cases say nothing, see :meth:`Method.noisy_teach_unshown`.
        mirror_axes: Spatial axes along which nnU-Net's augmentation mirrors; None: all.
        regions: Number of regions, 0 where all classes exclude each other.
        sources: The number of the source that every noisy case's label is from, see :attr:`FoldRoles.source_numbers`.
        kinds: How many labels a noisy case may have. Label ``k`` of noisy case ``n`` is number ``n + k * noisy`` among
            all, from 0 for those of ``labelsTr``.
        network: The student as it is initialised, for methods that train a second one like it.
    """

    channels: int
    classes: int
    dims: int
    noisy: int
    unlabeled: int
    ignore_label: int | None
    unshown: tuple[int, ...] = ()
    mirror_axes: tuple[int, ...] | None = None
    regions: int = 0
    network: nn.Module | None = None
    sources: tuple[int, ...] = ()
    kinds: int = 1

    @property
    def space(self) -> LabelSpace:
        """What the outputs of the network mean."""
        return LabelSpace(self.regions)

    @property
    def heads(self) -> int:
        """How many outputs the network has."""
        return self.regions or self.classes

    def built(self) -> nn.Module:
        """:attr:`network`, for a method that cannot do without."""
        if self.network is None:
            raise ValueError("the task knows no network, expected the student, to which the method adds another one")
        return self.network

    @classmethod
    def of(
        cls,
        channels: int,
        labels: LabelManager,
        patch_size: Sequence[int],
        roles: FoldRoles,
        unshown: tuple[int, ...] = (),
        mirror_axes: tuple[int, ...] | None = None,
        network: nn.Module | None = None,
    ) -> Task:
        """By nnU-Net's labels and patch size, and the roles of the fold."""
        counts = len(roles.noisy), len(roles.unlabeled)
        regions = labels.num_segmentation_heads if labels.has_regions else 0
        classes, dims = 2 if regions else labels.num_segmentation_heads, len(patch_size)
        of_data = (*counts, labels.ignore_label, unshown, mirror_axes, regions)
        return cls(channels, classes, dims, *of_data, network, roles.source_numbers, roles.kinds)
