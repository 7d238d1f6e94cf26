"""Corrupt a folder of label files into another folder, with its provenance."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from noise_synthesis.corrupt import CaseCorruption, CorruptionPlan
from noise_synthesis.region_noise import RegionCorruption, RegionPlan, plan_noise
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import write_json
from noise_synthesis.safe_io.label_files import ITK_LABELS, LabelFormat, find_label_files, volume_of
from noise_synthesis.safe_io.output_folder import check_replaceable, complete_folder, overlap
from noise_synthesis.safe_io.structures import Structures
from noise_synthesis.safe_io.version import tool_version

PROVENANCE = "provenance.json"

Plan = CorruptionPlan | RegionPlan


@dataclass(frozen=True)
class NoiseOptions:
    """What ``plan_noise`` takes beside the cases."""

    target_dice: float
    seed: int
    recipe: str
    per_slice: bool
    ignore_label: int | None
    processes: int
    structures: Structures | None = None


def corrupt_folder(
    source: Path, target: Path, options: NoiseOptions, force: bool = False, labels: LabelFormat = ITK_LABELS
) -> Plan:
    """Write a corrupted copy of every label file in ``source`` to ``target``, and ``provenance.json``.

    File names and geometry stay, with SimpleITK the data type as well. ``target`` appears when it is complete.

    Args:
        labels: reads and writes the files.

    Raises:
        InputError: unusable input or options, a target Dice out of reach, or ``target`` exists (without ``force``).
    """
    files = find_label_files(source)
    check_apart(source, target)
    check_replaceable(target, PROVENANCE, force)
    plan = _plan(files, options, labels)
    with complete_folder(target, PROVENANCE, force) as folder:
        jobs = [(labels, plan.for_case(case), path, folder / path.name) for case, path in files.items()]
        for _ in tqdm(_write_all(jobs, options.processes), "writing", len(jobs), unit="case", disable=None):
            pass
        write_json(folder / PROVENANCE, provenance(plan, source))
    return plan


def check_apart(source: Path, target: Path) -> None:
    """Raise an ``InputError`` where writing ``target`` would touch ``source``."""
    if overlap(source, target):
        raise InputError(f"{target}: lies in the folder of the labels or around it; choose a folder apart")


def provenance(plan: Plan, source: Path) -> dict[str, Any]:
    """Return the content of the provenance file: no date and no path, so that the same run gives the same bytes."""
    return {"tool": "mlbseg noise", "version": tool_version(), "source": source.resolve().name, **plan.provenance()}


def _plan(files: dict[str, Path], options: NoiseOptions, labels: LabelFormat) -> Plan:
    with tqdm(desc="loading", total=len(files), unit="case", disable=None) as bar:

        def show(event: str) -> None:
            if event.startswith("loaded"):
                bar.update()
            else:
                bar.set_description_str(f"calibrating, {event}")

        return plan_noise(
            {case: partial(volume_of, labels, path) for case, path in files.items()},
            options.target_dice,
            options.seed,
            structures=options.structures,
            recipe=options.recipe,
            per_slice=options.per_slice,
            ignore_label=options.ignore_label,
            processes=options.processes,
            progress=show,
        )


def _write_all(
    jobs: list[tuple[LabelFormat, CaseCorruption | RegionCorruption, Path, Path]], processes: int
) -> Iterator[None]:
    workers = min(processes, len(jobs))
    if workers <= 1:
        for job in jobs:
            _write_case(*job)
            yield
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        pending = [pool.submit(_write_case, *job) for job in jobs]
        try:
            for done in as_completed(pending):
                done.result()
                yield
        except BrokenProcessPool:
            raise InputError("a process was killed while writing, most often for lack of memory: use fewer") from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _write_case(labels: LabelFormat, corruption: CaseCorruption | RegionCorruption, source: Path, target: Path) -> None:
    volume, grid = labels.read(source)
    labels.write(corruption.apply(volume), grid, target)
