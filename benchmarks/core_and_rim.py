"""A dataset of two classes from one of one class: in every slice, the organ's core and its rim.

    python benchmarks/core_and_rim.py nnUNet_raw/Dataset501_LA Dataset510_Zones

Some noise mixes up classes (``--noise-recipe class_confusion``) and so needs several; LA and PROMISE12 have one each.
Core is what lies deeper than half of the slice's largest depth. Writes a raw dataset of nnU-Net's beside the first,
with its images and true labels (``labelsTr_true`` where there are any), for ``mlbseg convert nnunet``.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import distance_transform_edt

from dataset_conversion.raw.cases import TRUE_LABELS
from dataset_conversion.raw.folder import building
from noise_synthesis.safe_io.files import read_json, write_json

CORE, RIM = 1, 2


def core_and_rim(labels: np.ndarray) -> np.ndarray:
    """``(Z, Y, X)`` of 0 and 1 to 0, 1 = core and 2 = rim. Depth: pixels to the background of the slice."""
    found = np.zeros_like(labels, dtype=np.uint8)
    for slice_, classes in zip(labels, found, strict=True):
        if not slice_.any():
            continue
        # Outside of the frame is background as well: an organ that is cut off has a rim there.
        depth = distance_transform_edt(np.pad(slice_ > 0, 1))[1:-1, 1:-1]
        classes[slice_ > 0] = RIM
        classes[depth > depth.max() / 2] = CORE
    return found


def main() -> None:
    """Read the options and write the dataset; nothing that is there is overwritten."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="raw dataset folder with one class")
    parser.add_argument("name", help="of the new dataset, for example Dataset510_Zones")
    options = parser.parse_args()
    target = options.dataset.parent / options.name
    description = read_json(options.dataset / "dataset.json")
    if len(description["labels"]) != 2:
        parser.error(f"{options.dataset}: labels {description['labels']}, expected background and one class")
    if target.exists():
        parser.error(f"{target} exists already")
    ending = description["file_ending"]
    paths = sorted((options.dataset / "labelsTr").glob(f"*{ending}"))
    with building(target) as folder:
        (folder / "supervision").rmdir()  # all labels are clean; a dataset with roles would not be converted again
        shutil.copytree(options.dataset / "imagesTr", folder / "imagesTr", dirs_exist_ok=True)
        for path in paths:
            hidden = options.dataset / TRUE_LABELS / path.name
            image = sitk.ReadImage(str(hidden if hidden.is_file() else path))
            zones = sitk.GetImageFromArray(core_and_rim(sitk.GetArrayFromImage(image)))
            zones.CopyInformation(image)
            sitk.WriteImage(zones, str(folder / "labelsTr" / path.name))
        description |= {"labels": {"background": 0, "core": CORE, "rim": RIM}, "numTraining": len(paths)}
        write_json(folder / "dataset.json", description)
    print(f"{target}: {len(paths)} cases with core and rim")


if __name__ == "__main__":
    main()
