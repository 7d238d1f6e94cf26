"""Images per second in training, to see whether the loader or the device is the limit.

    python benchmarks/step/throughput.py --device cuda --processes 16 --images 40 --size 256

Three rows: nnU-Net's step with its loader; our step with its loader; our step with one batch that stays on the device.
Where the last two are alike the loader keeps up. Images are those that a backward pass runs over: N in a stock step, N
clean ones and N imperfect ones, counted with their views, in ours. Wall time; synthetic cases; for an idle machine.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
from parts import loaders
from scene import Scene, Sizes

from nnunetv2_mlbseg.cases.worker_processes import close


def repeated(batch: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The same batch for ever, in place of a loader."""
    while True:
        yield batch


def started(loader: Any, processes: int, pin_memory: bool) -> Iterator[dict[str, Any]]:
    """The loader in worker processes, as nnU-Net runs it, or in this one for 0."""
    if processes == 0:
        return loader
    return NonDetMultiThreadedAugmenter(loader, None, processes, max(6, processes // 2), pin_memory=pin_memory)


def seconds_per_step(step: Callable[[dict[str, Any]], Any], batches: Iterator[dict[str, Any]], steps: int) -> float:
    """After a few steps that fill the queues and compile what is compiled."""
    for _ in range(max(1, steps // 5)):
        step(next(batches))
    _finish()
    start = time.perf_counter()
    for _ in range(steps):
        step(next(batches))
    _finish()
    return (time.perf_counter() - start) / steps


def _finish() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main() -> None:
    """Print the three rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--processes", type=int, default=16, help="loader processes; 0: in this one")
    parser.add_argument("--images", type=int, default=40, help="images in each of the two batches, a multiple of 5")
    parser.add_argument("--size", type=int, default=256, help="height and width in pixels")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--compile", action="store_true", help="compile the training pass, as nnU-Net does on CUDA")
    options = parser.parse_args()
    pin = options.device == "cuda"
    scene = Scene(Sizes(images=options.images, size=options.size), options.device, compile=options.compile)
    with tempfile.TemporaryDirectory() as folder:
        stock, pair = (started(way, options.processes, pin) for way in loaders(scene, Path(folder)))
        rows = {
            "stock": (scene.stock, stock, 1),
            "ours": (scene.whole, pair, 2),
            "ours, batch on the device": (scene.whole, repeated(scene.batch), 2),
        }
        print(f"{'':28}{'images/s':>10}{'ms/step':>10}")
        for name, (step, batches, sets) in rows.items():
            seconds = seconds_per_step(step, batches, options.steps)
            print(f"{name:28}{sets * options.images / seconds:10.1f}{1000 * seconds:10.1f}")
        for loader in (stock, pair):
            close(loader)


if __name__ == "__main__":
    main()
