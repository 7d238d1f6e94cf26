"""Everything about a step that only a GPU can tell, in about eight minutes and one Markdown table.

    python benchmarks/on_a_gpu.py
    python benchmarks/on_a_gpu.py --train 540 --out curves    # and a real training of a preprocessed dataset

Versions; seconds of nnU-Net's own step, ours by either kind of pixel weights, and the second-order one; the parts of
ours; peak memory; images per second with loading. With ``--train`` also 300 steps of a real training: killed half-way
and continued by ``--c``, its losses written to a CSV file.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch

STEP = Path(__file__).resolve().parent / "step"
sys.path.insert(0, str(STEP))
from parts import parts  # noqa: E402
from scene import Scene, Sizes  # noqa: E402

Row = tuple[str, str, str]
TRAINING = {"warmup_epochs": 2, "epochs": 4, "iterations_per_epoch": 50, "val_iterations_per_epoch": 5, "seed": 1}
"""300 steps in epochs of 50."""


def main() -> None:
    """Measure, and print the table row by row, so that an interruption leaves what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", type=int, default=256, help="height and width in pixels")
    parser.add_argument("--images", type=int, nargs="+", default=[12, 49], help="batch sizes")
    parser.add_argument("--steps", type=int, default=10, help="timed steps of each way")
    parser.add_argument("--processes", type=int, default=16, help="loader processes; 0: in this one")
    parser.add_argument("--train", metavar="DATASET", help="number of a preprocessed dataset with roles and folds")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of the CSV file")
    options = parser.parse_args()
    print("| what | value | x nnU-Net |\n|---|---|---|")
    for what, value, ratio in rows(options):
        print(f"| {what} | {value} | {ratio} |", flush=True)


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """All that is asked for."""
    yield from versions(options.device)
    for images in options.images:
        yield from steps(options, images)
    yield from of_parts(options, min(options.images))
    yield from loading(options)
    if options.train:
        yield from training(options)


def versions(device: str) -> Iterator[Row]:
    """Of what was measured."""
    name = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()
    yield "device", name, ""
    yield "torch", f"{torch.__version__}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}", ""


def steps(options: argparse.Namespace, images: int) -> Iterator[Row]:
    """Milliseconds and peak memory of whole steps; the second-order one without deep supervision and compiled code."""
    stock = 0.0
    ways: dict[str, tuple[str, bool, dict[str, Any]]] = {
        "nnU-Net": ("stock", True, {}),
        "tied": ("whole", True, {}),
        "tied, not compiled": ("whole", False, {}),
        "meta": ("whole", True, {"weighting": "meta"}),
        "uniform": ("whole", True, {"weighting": "uniform"}),
        "second order, not compiled": ("second order", False, {}),
    }
    for name, (way, compiles, overrides) in ways.items():
        scene = _scene(options, images, compiles, deep=way != "second order", **overrides)
        seconds, mebibytes = timed(scene.ways()[way], options)
        del scene
        stock = stock or seconds
        value = f"{1000 * seconds:.1f} ms, {mebibytes}"
        yield f"step of {images} images, {name}", value, f"{seconds / stock:.2f}"


def _scene(options: argparse.Namespace, images: int, compiles: bool, deep: bool, **overrides: Any) -> Scene:
    """As nnU-Net plans for images of this size: features double up to 512; ``deep``: with deep supervision."""
    gc.collect()
    stages = max(3, min(7, options.size.bit_length() - 2))
    sizes = Sizes(images=images, size=options.size, classes=3, stages=stages, deep=deep)
    return Scene(sizes, options.device, compile=compiles and options.device == "cuda", **overrides)


def timed(way: Callable[[], Any], options: argparse.Namespace) -> tuple[float, str]:
    """The median step in seconds, and the peak of the memory that torch held, where it tells."""
    on_gpu = options.device == "cuda"
    for _ in range(3):  # compiles, fills caches, makes the optimiser's state
        way()
    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(options.steps):
        start = time.perf_counter()
        way()
        if on_gpu:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return median(seconds), f"{torch.cuda.max_memory_allocated() / 2**30:.2f} GiB" if on_gpu else "memory not told"


def of_parts(options: argparse.Namespace, images: int) -> Iterator[Row]:
    """Milliseconds of the parts of a step, not compiled and without deep supervision."""
    for name, part in parts(_scene(options, images, compiles=False, deep=False)).items():
        if name == "forward with tangents" and options.device == "cuda":
            continue  # the CPU's way
        yield f"part of a step of {images} images: {name}", f"{1000 * timed(part, options)[0]:.1f} ms", ""


def loading(options: argparse.Namespace) -> Iterator[Row]:
    """Images per second with nnU-Net's loading and augmentation."""
    images = 5 * max(1, min(options.images) // 5)
    arguments = ["--device", options.device, "--processes", str(options.processes), "--images", str(images)]
    arguments += ["--size", str(options.size), "--steps", str(options.steps)]
    command = [sys.executable, "-W", "ignore", str(STEP / "throughput.py"), *arguments]
    done = subprocess.run(command + ["--compile"] * (options.device == "cuda"), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"the measurement of loading failed: {done.stderr.strip()[-1000:]}")
    for line in done.stdout.splitlines()[1:]:
        name, *numbers = (line[:28].strip(), *line[28:].split())
        yield f"with loading, {name}", f"{numbers[0]} images/s, {numbers[1]} ms", ""


def training(options: argparse.Namespace) -> Iterator[Row]:
    """A real training of 300 steps, killed in its third epoch and continued; its losses go to a CSV file."""
    results = Path(os.environ["nnUNet_results"])  # noqa: SIM112
    environment = {**os.environ, "MLBSEG_CONFIG": json.dumps(TRAINING)}
    command = ["nnUNetv2_train", options.train, "2d", "0", "-tr", "nnUNetTrainerMLBSeg", "-device", options.device]
    start = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while process.poll() is None and len(_losses(results, options.train)) < 3:
        time.sleep(0.5)
    process.kill()
    process.wait()
    subprocess.run([*command, "--c"], env=environment, check=True, stdout=subprocess.DEVNULL)
    path = options.out / "losses.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    losses = _losses(results, options.train)
    path.write_text("epoch,loss\n" + "".join(f"{number},{loss}\n" for number, loss in enumerate(losses)))
    yield "real training, killed and continued", f"{len(losses)} epochs, {time.perf_counter() - start:.0f} s", ""
    yield "its loss, first and last epoch", f"{losses[0]:.3f}, {losses[-1]:.3f}; {path}", ""


def _losses(results: Path, dataset: str) -> list[float]:
    """Of the epochs so far."""
    pattern = f"Dataset{int(dataset):03d}_*/nnUNetTrainerMLBSeg__*__2d/fold_0/mlbseg_log.json"
    found = sorted(results.glob(pattern))
    return json.loads(found[0].read_text())["values"]["loss"] if found else []


if __name__ == "__main__":
    main()
