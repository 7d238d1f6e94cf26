"""Peak memory of one way to take a step, in a process of its own.

    python benchmarks/step/peak_memory.py WAY IMAGES SIZE DEVICE

Prints the MiB by which the peak during two steps exceeds what was held before them: on the CPU of the resident set, on
CUDA of what torch allocated.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from scene import Scene, Sizes


def resident(field: str) -> float:
    """MiB that Linux reports: VmRSS is now, VmHWM the peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def main() -> None:
    """Take the steps and print the number."""
    way, images, size, device = sys.argv[1:]
    torch.set_num_threads(1)
    scene = Scene(Sizes(images=int(images), size=int(size)), device)
    step = scene.ways()[way]
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step(), step()
        print((torch.cuda.max_memory_allocated() - before) / 2**20)
        return
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = resident("VmRSS")
    step(), step()
    print(resident("VmHWM") - before)


if __name__ == "__main__":
    main()
