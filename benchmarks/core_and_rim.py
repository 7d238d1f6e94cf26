"""A dataset of two classes from one of one class: in every slice, the organ's core and its rim.

    python benchmarks/core_and_rim.py nnUNet_raw/Dataset501_LA Dataset510_Zones

Some noise mixes up classes (``--noise-recipe class_confusion``) and so needs several; LA and PROMISE12 have one each.
Core is what lies deeper than half of the slice's largest depth. Writes a raw dataset of nnU-Net's beside the first,
with its images and true labels (``labelsTr_true`` where there are any), for ``mlbseg convert nnunet``.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import distance_transform_edt

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
    description = json.loads((options.dataset / "dataset.json").read_text())
    if len(description["labels"]) != 2:
        parser.error(f"{options.dataset}: labels {description['labels']}, expected background and one class")
    if target.exists():
        parser.error(f"{target} exists already")
    unfinished = target.with_name(f"{target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(options.dataset / "imagesTr", unfinished / "imagesTr")
    (unfinished / "labelsTr").mkdir()
    ending = description["file_ending"]
    for path in sorted((options.dataset / "labelsTr").glob(f"*{ending}")):
        hidden = options.dataset / "labelsTr_true" / path.name
        image = sitk.ReadImage(str(hidden if hidden.is_file() else path))
        zones = sitk.GetImageFromArray(core_and_rim(sitk.GetArrayFromImage(image)))
        zones.CopyInformation(image)
        sitk.WriteImage(zones, str(unfinished / "labelsTr" / path.name))
    count = len(list((unfinished / "labelsTr").iterdir()))
    description |= {"labels": {"background": 0, "core": CORE, "rim": RIM}, "numTraining": count}
    (unfinished / "dataset.json").write_text(json.dumps(description, indent=2))
    unfinished.rename(target)
    print(f"{target}: {count} cases with core and rim")


if __name__ == "__main__":
    main()
