"""``mlbseg doctor``: would nnU-Net find the trainer, its data and a device in this environment; if not, what to do."""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from nnunetv2_mlbseg.extension_path import PLUGIN_FOLDER, VARIABLE

PACKAGE = "nnunetv2_mlbseg"
TRAINER = "nnUNetTrainerMLBSeg"
RAW = "nnUNet_raw"
PATH_VARIABLES = {
    RAW: "raw datasets",
    "nnUNet_preprocessed": "preprocessed datasets (a fast disk)",
    "nnUNet_results": "trained models",
}
FIND_TRAINER = (
    "from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as find; "
    f"trainer = find({TRAINER!r}); print('found', trainer.__module__)"
)
NEW_RAW = (
    f"enough to train; to make datasets (mlbseg split, convert), set {RAW} to a folder of yours, and name the dataset "
    f"to start from by its path"
)
WORKERS = "nnUNet_n_proc_DA"
GIB = 2**30


@dataclass(frozen=True)
class Finding:
    """One line of the report; a remedy makes it a problem, advice does not."""

    text: str
    remedy: str | None = None
    advice: str | None = None

    def lines(self) -> list[str]:
        """As printed."""
        word = "PROBLEM" if self.remedy else "ADVICE" if self.advice else "OK"
        more = self.remedy or self.advice
        return [f"{word:<8} {self.text}", *([f"{'':<8} -> {more}"] if more else [])]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``mlbseg doctor`` has no options of its own."""


def run(args: argparse.Namespace) -> int:
    """Print each finding as soon as it is known; exit code 1 if there is a problem."""
    problems = 0
    checks: list[Callable[[], Iterator[Finding]]] = [versions, torch_pair, paths, devices, processes, trainer]
    for check in checks:
        for finding in check():
            problems += finding.remedy is not None
            print("\n".join(finding.lines()), flush=True)
    print(f"\n{problems} problem(s) found." if problems else "\nNo problem found.")
    return 1 if problems else 0


def versions() -> Iterator[Finding]:
    """Python, this package, and every package it requires in a version it can work with."""
    from packaging.requirements import Requirement

    yield Finding(f"Python {platform.python_version()} ({sys.executable})")
    try:
        requirements = [Requirement(line) for line in metadata.requires(PACKAGE) or []]
    except metadata.PackageNotFoundError:
        yield Finding(f"{PACKAGE} is imported, but not installed", "run pip install . in its repository")
        return
    yield Finding(f"{PACKAGE} {metadata.version(PACKAGE)} ({Path(PLUGIN_FOLDER).parent})")
    for requirement in requirements:
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield installed(requirement.name, requirement.specifier.contains, str(requirement.specifier))


def installed(name: str, fits: Callable[..., bool], wanted: str) -> Finding:
    """Is a required package there in a version that fits?"""
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding(f"{name} is not installed", f'run pip install "{name}{wanted}"')
    if fits(version, prereleases=True):
        return Finding(f"{name} {version}")
    return Finding(f"{name} {version}, needed: {wanted}", f'run pip install "{name}{wanted}"')


def torch_pair() -> Iterator[Finding]:
    """torch and torchvision must be of one build: nnU-Net's search for trainers imports both."""
    try:
        import torch
        import torchvision

        yield Finding(f"torchvision {torchvision.__version__} fits torch {torch.__version__}")
    except (ImportError, RuntimeError, OSError) as error:
        remedy = "install a matching pair from one source: pip install --upgrade torch torchvision"
        yield Finding(f"torch and torchvision do not work together: {last_line(str(error))}", remedy)


def paths() -> Iterator[Finding]:
    """nnU-Net's three variables, each a folder; raw datasets need not be writable to train from."""
    for variable, purpose in PATH_VARIABLES.items():
        value = os.environ.get(variable)
        if not value:
            yield Finding(f"{variable} is not set", f"export {variable}=FOLDER, the place for {purpose}")
        elif not os.path.isdir(value):
            yield Finding(
                f"{variable}={value} is not a folder", f"run mkdir -p {shlex.quote(value)}, or set {variable} anew"
            )
        elif not is_writable(value):
            text, remedy = f"{variable}={value} cannot be written to", f"change its permissions, or set {variable} anew"
            yield Finding(text, advice=NEW_RAW) if variable == RAW else Finding(text, remedy)
        else:
            yield Finding(f"{variable}={value}")


def is_writable(folder: str) -> bool:
    """Tried out: permission bits do not tell about read-only file systems."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def processes() -> Iterator[Finding]:
    """nnU-Net's numbers of processes: of its preprocessing, validation and prediction, and of the augmentation."""
    from dataset_conversion.raw.parallel import NNUNET_DEFAULT_PROCESSES, NNUNET_PROCESSES, cores

    value, few = os.environ.get(NNUNET_PROCESSES), f"export {NNUNET_PROCESSES}={min(cores(), NNUNET_DEFAULT_PROCESSES)}"
    number = NNUNET_DEFAULT_PROCESSES if value is None else as_whole(value)
    if number is None or number < 1:
        yield Finding(f"{NNUNET_PROCESSES} is {value!r}, expected a whole number, 1 or more", few)
    elif number > cores():
        shown = f"is not set, so that nnU-Net starts {number} processes" if value is None else f"is {value}"
        yield Finding(f"{NNUNET_PROCESSES} {shown} on {cores()} cores: slow, and each takes memory", advice=few)
    else:
        yield Finding(f"{NNUNET_PROCESSES}: {number} processes")
    value = os.environ.get(WORKERS)
    workers = None if value is None else as_whole(value)
    if value is not None and (workers is None or workers < 0):
        yield Finding(f"{WORKERS} is {value!r}, expected a whole number, 0 or more", f"unset {WORKERS}")
    elif workers == 0:
        yield Finding(
            f"{WORKERS} is 0, with which nnU-Net's planning fails",
            f"unset {WORKERS}, and give it to trainings alone: {WORKERS}=0 nnUNetv2_train ...",
        )


def as_whole(value: str) -> int | None:
    """The whole number that nnU-Net reads; None where it would fail."""
    try:
        return int(value)
    except ValueError:
        return None


def devices() -> Iterator[Finding]:
    """What a training could run on. None of it is a problem: the CPU is always there."""
    from dataset_conversion.raw.parallel import cores

    memory = f", {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / GIB:.0f} GiB of memory"
    yield Finding(f"CPU: {cores()} cores{memory}")
    try:
        import torch
    except (ImportError, OSError):
        return  # reported by torch_pair
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield Finding(f"CUDA device {index}: {properties.name}, {properties.total_memory / GIB:.0f} GiB of memory")
    if torch.backends.mps.is_available():
        yield Finding("MPS: available (-device mps)")
    if not torch.cuda.is_available():
        yield Finding("CUDA: none; trainings need -device cpu (or mps)")


def trainer() -> Iterator[Finding]:
    """Look the trainer up as nnU-Net does, in a fresh process away from the current folder."""
    yield Finding(f"{VARIABLE}={os.environ.get(VARIABLE, '')}")
    with tempfile.TemporaryDirectory() as elsewhere:
        command = [sys.executable, "-c", FIND_TRAINER]
        result = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, check=False)
    if result.returncode == 0:
        yield Finding(f"nnU-Net finds {TRAINER} (in {result.stdout.split()[-1]})")
        return
    if PLUGIN_FOLDER in os.environ.get(VARIABLE, "").split(os.pathsep):
        remedy = "see the packages above, and run the nnU-Net command itself for the whole message"
    else:
        remedy = f"run pip install . again (it enters {PLUGIN_FOLDER} into {VARIABLE}), or export that yourself"
    yield Finding(f"nnU-Net does not find {TRAINER}: {last_line(result.stderr)}", remedy)


def last_line(text: str) -> str:
    """The line that says what went wrong."""
    return (text.strip().splitlines() or ["no message"])[-1]
