"""``python -m noise_synthesis IN OUT``: the same as ``mlbseg noise``."""

from __future__ import annotations

import argparse
import sys

from noise_synthesis.command import add_arguments, run
from noise_synthesis.safe_io.command_line import add_common_arguments, run_command


def main() -> int:
    """Parse the command line and run; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m noise_synthesis", description="Corrupt a folder of label files to a target Dice."
    )
    add_arguments(parser)
    add_common_arguments(parser)
    return run_command(run, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
