"""What all commands share: one line for an error, a traceback only when asked for."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable

from noise_synthesis.errors import InputError

EXIT_INPUT_ERROR = 2


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command has."""
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")


def run_command(run: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    """Run a command and return its exit code; an ``InputError`` becomes one line on stderr and exit code 2."""
    try:
        return run(args)
    except InputError as error:
        if getattr(args, "debug", False):
            traceback.print_exc()
        print(f"mlbseg: error: {error}", file=sys.stderr)
        return EXIT_INPUT_ERROR
    except KeyboardInterrupt:
        print("mlbseg: interrupted", file=sys.stderr)
        return 130
