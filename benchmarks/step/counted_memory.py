"""Peak memory of a step on a GPU, counted without one: nnU-Net's own step and ours, for two of nnU-Net's networks.

    python benchmarks/step/counted_memory.py

Counts the bytes of tensors that live at once, in half precision as on a GPU, at the batch sizes that nnU-Net plans for
256 x 256. torch's allocator and cuDNN take more on top, for both alike.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "support"))
from counted_steps import our_peak, stock_peak

FEATURES = (32, 64, 128, 256, 512, 512, 512)
IMAGES = {"plain": 49, "residual": 50}
WEIGHTINGS = ("tied", "meta", "uniform")


def main() -> None:
    """Count, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=list(IMAGES), help="plain, residual; both by default")
    parser.add_argument("--size", type=int, default=256, help="height and width in pixels")
    options = parser.parse_args()
    print(f"{'network':10} {'step':8} {'GiB':>7} {'x stock':>8}")
    for network in options.networks:
        point = (network, FEATURES, options.size, IMAGES[network])
        stock = stock_peak(*point)
        print(f"{network:10} {'stock':8} {stock / 2**30:7.2f} {1:8.3f}")
        for weighting in WEIGHTINGS:
            ours = our_peak(*point, weighting=weighting)
            print(f"{network:10} {weighting:8} {ours / 2**30:7.2f} {ours / stock:8.3f}")


if __name__ == "__main__":
    main()
