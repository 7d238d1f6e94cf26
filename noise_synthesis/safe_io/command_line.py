"""What all commands share: one line for an error, a traceback only when asked for."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable

from noise_synthesis.safe_io.errors import InputError, describe_os_error

EXIT_INPUT_ERROR = 2
EXIT_BROKEN_PIPE = 141


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command has."""
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")


def run_command(run: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    """Run a command and return its exit code; an ``InputError`` or ``OSError`` becomes one line on stderr, code 2."""
    try:
        return run(args)
    except InputError as error:
        if getattr(args, "debug", False):
            traceback.print_exc()
        print(f"mlbseg: error: {error}", file=sys.stderr)
        return EXIT_INPUT_ERROR
    except BrokenPipeError:  # whoever read our output has seen enough, as in "mlbseg check 500 | head"
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except OSError as error:
        if getattr(args, "debug", False):
            traceback.print_exc()
        print(f"mlbseg: error: {describe_os_error(error)}", file=sys.stderr)
        return EXIT_INPUT_ERROR
    except KeyboardInterrupt:
        print("mlbseg: interrupted", file=sys.stderr)
        return 130
