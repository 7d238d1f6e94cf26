"""The name that nnU-Net knows a raw dataset by."""

from __future__ import annotations

import os
from pathlib import Path

_RAW = "nnUNet_raw"


def dataset_name(folder: Path) -> str:
    """Return the name of a raw dataset in ``nnUNet_raw``, which its preprocessed data and its results bear as well.

    The folder there may be a link to one of another name, and a user may give either. A folder that is not in
    ``nnUNet_raw`` has its own name.
    """
    place = Path(os.path.abspath(folder))
    root = os.environ.get(_RAW)
    if not root or not Path(root).is_dir() or place.parent.samefile(root):
        return place.name
    links = sorted(path for path in Path(root).glob("Dataset*_*") if path.is_dir() and path.samefile(place))
    return links[0].name if links else place.name


def name_after_number(folder: Path) -> str:
    """Return what stands behind the number in a dataset's name: ``Prostate`` of ``Dataset040_Prostate``."""
    name = dataset_name(folder)
    return name.partition("_")[2] or name
