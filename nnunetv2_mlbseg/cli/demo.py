"""``mlbseg demo``: the whole workflow on synthetic scans, on the CPU, in minutes."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from noise_synthesis.safe_io.errors import InputError

PICTURE = "mlbseg_demo.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mlbseg demo``."""
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help=f"keep everything in DIR: scans, datasets, model, predictions, logs (default: leave only ./{PICTURE})",
    )
    parser.add_argument("--seed", type=int, default=0, help="of scans, roles and label noise (default: 0)")
    parser.add_argument("--force", action="store_true", help="empty DIR, or overwrite the picture, if it is there")


def run(args: argparse.Namespace) -> int:
    """Run the workflow in DIR or in a folder that is gone afterwards."""
    from nnunetv2_mlbseg.demo.workflow import run_workflow

    if args.seed < 0:
        raise InputError(f"--seed is {args.seed}, expected 0 or more")
    with working_folder(args.out, args.force) as folder:
        picture = folder / PICTURE if args.out else Path(PICTURE).absolute()
        if picture.exists() and not args.force:
            raise InputError(f"{picture}: exists already; --force overwrites it, --out DIR keeps everything elsewhere")
        run_workflow(folder, picture, args.seed)
    print(f"\nPicture: {picture}")
    if args.out:
        print(f"Everything else: {args.out}")
    return 0


@contextmanager
def working_folder(out: Path | None, force: bool) -> Iterator[Path]:
    """DIR itself, empty; or a temporary folder, removed whatever happens."""
    if out is None:
        with ending_by_exception(), tempfile.TemporaryDirectory(prefix="mlbseg_demo_") as folder:
            yield Path(folder).resolve()
        return
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file, expected a folder")
    if out.is_dir() and any(out.iterdir()):
        if not force:
            raise InputError(f"{out}: is not empty; --force empties it first")
        if not is_ours(out):
            raise InputError(f"{out}: does not look like a former demo (no logs and scans in it), so it is not emptied")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    with ending_by_exception():
        yield out.resolve()


def is_ours(folder: Path) -> bool:
    """Does a folder look like one that a demo has filled?"""
    return (folder / "logs").is_dir() and (folder / "scans").is_dir()


@contextmanager
def ending_by_exception() -> Iterator[None]:
    """Let a termination signal unwind as Ctrl-C does, so that child processes end and temporary files go."""

    def leave(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    former = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)
