"""How long a conversion takes per case, as a ratio to merely reading and writing the same files with SimpleITK.

``python benchmarks/conversion.py`` makes files of the official sizes and measures them;
``--la FOLDER`` and ``--promise12 FOLDER`` measure files that are there. One process throughout, its CPU time
(other load on the machine does not count, nor does waiting for the disk), the fastest of several rounds taken in turns.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

from dataset_conversion import promise12
from dataset_conversion.la_layouts import H5_FILE, IMAGE_FILE, LABEL_FILE, find_la_cases
from dataset_conversion.raw.cases import CaseSettings, CaseSource, Fate
from dataset_conversion.simulation.corruption import write_corrupted
from noise_synthesis.calibration.levels import parse_level
from noise_synthesis.corrupt import plan_corruption
from noise_synthesis.safe_io.label_files import ITK_LABELS, volume_of

ROUNDS = 3
SETTINGS = CaseSettings(size=None, allowed_labels=(0, 1), ignore_label=2)


def scan(shape: tuple[int, int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a textured volume in [0, 255] and a smooth blob as label, (z, y, x)."""
    rng = np.random.default_rng(seed)
    texture = gaussian_filter(rng.normal(size=shape).astype(np.float32), (1, 2, 2)) * 250
    axes = np.meshgrid(*[np.linspace(-1, 1, n, dtype=np.float32) for n in shape], indexing="ij")
    reach = 50 / shape[1] * 2  # a radius of 50 pixels in plane, half of the slices
    label = ((2 * axes[0]) ** 2 + (axes[1] ** 2 + axes[2] ** 2) / reach**2 < rng.uniform(0.8, 1)).astype(np.uint8)
    return (100 + texture + 40 * label + rng.normal(0, 6, shape)).clip(0, 255), label


def make_sources(folder: Path, count: int) -> None:
    """Write ``count`` scans in each of the three official layouts and sizes."""
    for number in range(count):
        name = f"Case{number:02d}"
        image, label = scan((88, 576, 576), number)
        (folder / "nrrd" / name).mkdir(parents=True)
        sitk.WriteImage(sitk.GetImageFromArray(image.astype(np.uint8)), str(folder / "nrrd" / name / IMAGE_FILE), True)
        sitk.WriteImage(sitk.GetImageFromArray(label * np.uint8(255)), str(folder / "nrrd" / name / LABEL_FILE), True)
        image, label = (volume[:, 200:340, 190:370] for volume in (image, label))
        (folder / "h5" / name).mkdir(parents=True)
        with h5py.File(folder / "h5" / name / H5_FILE, "w") as file:
            standard = ((image - image.mean()) / image.std()).astype(np.float32)
            file.create_dataset("image", data=standard.transpose(2, 1, 0), compression="gzip")
            file.create_dataset("label", data=label.transpose(2, 1, 0), compression="gzip")
        image, label = scan((30, 320, 320), number)
        (folder / "mhd").mkdir(exist_ok=True)
        sitk.WriteImage(sitk.GetImageFromArray((image * 4).astype(np.int16)), str(folder / "mhd" / f"{name}.mhd"))
        path = folder / "mhd" / f"{name}_segmentation.mhd"
        sitk.WriteImage(sitk.GetImageFromArray(label.astype(np.int8)), str(path))


def bare(files: tuple[Path, ...], target: Path) -> None:
    """Read files and write what they hold as .nii.gz; h5py reads what SimpleITK cannot."""
    for path in files:
        if path.suffix == ".h5":
            with h5py.File(path) as file:
                images = [sitk.GetImageFromArray(file[key][()].transpose(2, 1, 0)) for key in ("image", "label")]
        else:
            images = [sitk.ReadImage(str(path))]
        for number, image in enumerate(images):
            sitk.WriteImage(image, str(target / f"bare_{path.name}_{number}.nii.gz"), True)


def files_of(kind: str, folder: Path, name: str) -> tuple[Path, ...]:
    """Return the files of a case."""
    if kind == "promise12":
        return tuple(sorted(folder.rglob(f"{name}*.mhd")))
    return tuple(sorted(path for path in folder.rglob(f"{name}/*") if path.name in (H5_FILE, IMAGE_FILE, LABEL_FILE)))


def seconds(work: Callable[[], None]) -> float:
    """Run once and return the CPU time taken."""
    start = time.process_time()
    work()
    return time.process_time() - start


def convert(cases: list[CaseSource], fate: Fate, target: Path) -> None:
    """Convert without noise."""
    for case in cases:
        case.write(fate, target, SETTINGS)


def add_noise(cases: list[CaseSource], target: Path) -> None:
    """Calibrate to L2 and write the noisy labels of cases converted before."""
    labels = ITK_LABELS
    paths = {case.name: target / "labelsTr" / f"{case.name}.nii.gz" for case in cases}
    loaders = {name: partial(volume_of, labels, path) for name, path in paths.items()}
    plan = plan_corruption(loaders, parse_level("L2"), 0)
    for name, path in paths.items():
        write_corrupted(labels, path, target / "labelsTr_true" / path.name, plan.for_case(name))


def measure(what: str, kind: str, folder: Path, cases: list[CaseSource]) -> None:
    """Print one line: bare time per case, and the ratios of conversion and of noise to it."""
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch)
        for part in ("imagesTr", "labelsTr", "labelsTr_true"):
            (target / part).mkdir()
        files = [path for case in cases for path in files_of(kind, folder, case.name)]
        works = [partial(bare, tuple(files), target), partial(convert, cases, "clean", target)]
        works.append(partial(add_noise, cases, target))
        rounds = [[seconds(work) for work in works] for _ in range(ROUNDS)]
    plain, converted, noisy = (min(times) / len(cases) for times in zip(*rounds, strict=True))
    print(
        f"{what:28} {len(cases):3} cases  read+write {plain:6.3f} s/case  conversion {converted:6.3f} s/case = "
        f"{converted / plain:4.2f}x  noise {noisy:6.3f} s/case = {noisy / plain:4.2f}x"
    )


def main() -> None:
    """Measure made-up files, or those in the folders given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--la", type=Path, help="folder of LA scans, either layout")
    parser.add_argument("--promise12", type=Path, help="folder of PROMISE12 scans")
    parser.add_argument("--cases", type=int, default=3, help="how many cases to measure (default: 3)")
    args = parser.parse_args()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    with tempfile.TemporaryDirectory() as scratch:
        la = {f"LA in {args.la.name}": args.la} if args.la else {}
        prostate = {f"PROMISE12 in {args.promise12.name}": args.promise12} if args.promise12 else {}
        if not la and not prostate:
            make_sources(Path(scratch), args.cases)
            la = {"LA nrrd 576x576x88": Path(scratch, "nrrd"), "LA h5 180x140x88": Path(scratch, "h5")}
            prostate = {"PROMISE12 mhd 320x320x30": Path(scratch, "mhd")}
        for what, folder in la.items():
            cases = find_la_cases(folder, "auto", None, crop_heart=False).training
            measure(what, "la", folder, list(cases[: args.cases]))
        for what, folder in prostate.items():
            measure(what, "promise12", folder, promise12.find_cases(folder)[: args.cases])


if __name__ == "__main__":
    main()
