"""``mlbseg study``: data sets x settings x variants x seeds from one file, run by Snakemake, to tables and figures."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataset_conversion.raw.parallel import cores
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import read_json

if TYPE_CHECKING:
    from nnunetv2_mlbseg.settings.rules import Settings
    from nnunetv2_mlbseg.study.reading.description import Study
    from nnunetv2_mlbseg.study.reading.runs import Run

SOURCE_VARIABLE = "MLBSEG_SOURCE_"
TAKES_REST = True  # options after -- are Snakemake's
LINKING = ("existing", "nnunet")  # converters whose data are second names of the source's files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mlbseg study``."""
    parser.add_argument(
        "study", metavar="STUDY", help="a YAML file, or the name of a study that comes with this package"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: mlbseg_study_NAME in the current folder")
    parser.add_argument(
        "--source",
        action="append",
        default=[],
        metavar="DATASET=PATH",
        help=f"where the scans of a data set lie; also the variable {SOURCE_VARIABLE}DATASET, or 'source' in the file",
    )
    parser.add_argument(
        "--evaluation", action="append", default=[], metavar="DATASET=FILE", help="another list of held-out cases"
    )
    parser.add_argument("--cores", type=int, default=cores(), metavar="N", help="default: %(default)s, all")
    parser.add_argument("--device", choices=("cpu", "cuda", "mps"), help="default: as the file says")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="PATTERN",
        help="runs of this name only, for example 'la/semi/*' (DATASET/SETTING/VARIANT/seed_N; repeatable)",
    )
    parser.add_argument("--dry-run", action="store_true", help="check everything, say what would run, run nothing")
    parser.add_argument(
        "--tables-only", action="store_true", help="run nothing; tables and figures of what is finished"
    )
    parser.epilog = "Options after -- go to Snakemake as they are: mlbseg study small -- --executor slurm --jobs 20"


def run(args: argparse.Namespace) -> int:
    """Run what is missing, write tables and figures, name what failed; exit code 1 if anything did."""
    from nnunetv2_mlbseg.study.reading.runs import described, runs_of
    from nnunetv2_mlbseg.study.reading.study_file import find_study, read_study

    study = changed(read_study(find_study(args.study), settings_of), args)
    if args.cores < 1:
        raise InputError(f"--cores {args.cores}: expected 1 or more")
    runs = runs_of(study, args.only or ["*"])
    if not runs:
        raise InputError(f"--only {' '.join(args.only)}: no run has such a name, for example {runs_of(study)[0].name}")
    out = (args.out or Path(f"mlbseg_study_{study.name}")).absolute()
    unfinished = [run for run in runs if not is_finished(study, out, run)]
    print(f"{study.name}: {len(runs)} runs, {len(runs) - len(unfinished)} of them finished, in {out}")
    if not args.tables_only:
        from nnunetv2_mlbseg.study.running.engine import run_engine

        names = {run.data.dataset.name for run in unfinished}
        sources = {name: source_of(study, name, args.source) for name in names}
        note_other_sources(out, unfinished, sources)
        code = run_engine(out, described(study, runs, sources, sys.executable), args.cores, args.dry_run, args.rest)
        if args.dry_run:
            return code
    from nnunetv2_mlbseg.study.reporting.report import write_report

    write_report(study, runs_of(study), out)
    return name_missing(study, out, runs)


def settings_of(trainer: str) -> type[Settings]:
    """The class that checks the settings of a trainer; one of the user's own is taken for a variant of MLB-Seg."""
    from nnunetv2_mlbseg.methods.mlbseg.settings import MLBSegSettings

    if trainer.startswith("nnUNetTrainerMLBSeg"):  # without nnU-Net, which takes seconds to import
        return MLBSegSettings
    from nnunetv2_mlbseg.nnunet_plugin import mlbseg_trainers

    found: Any = getattr(mlbseg_trainers, trainer, None)
    return MLBSegSettings if found is None else found.method.Settings


def changed(study: Study, args: argparse.Namespace) -> Study:
    """The study with what the command line says otherwise."""
    pairs = split_pairs("--evaluation", args.evaluation, list(study.datasets))
    datasets = dict(study.datasets)
    for name, value in pairs.items():
        path = Path(value).expanduser().absolute()
        if not path.is_file():
            raise InputError(f"--evaluation {name}={value}: no such file")
        datasets[name] = dataclasses.replace(datasets[name], evaluation=path)
    return dataclasses.replace(study, datasets=datasets, device=args.device or study.device)


def source_of(study: Study, name: str, pairs: Sequence[str]) -> str:
    """Where the scans of a data set lie on this machine: the option, the variable, the file."""
    given = split_pairs("--source", pairs, list(study.datasets))
    variable = SOURCE_VARIABLE + name.upper()
    value = given.get(name) or os.environ.get(variable) or study.datasets[name].source
    if value is None:
        raise InputError(
            f"{study.file}: dataset {name}: no source; give --source {name}=PATH, set {variable}, or put 'source' into "
            "the file"
        )
    path = Path(os.path.expandvars(value)).expanduser()
    is_from_file = not (given.get(name) or os.environ.get(variable))
    path = (study.file.parent / path if is_from_file else path).absolute()
    if not path.is_dir():
        raise InputError(f"dataset {name}: source {path} is not a folder")
    return str(path)


def note_other_sources(out: Path, runs: Sequence[Run], sources: Mapping[str, str]) -> None:
    """Say which data are there already and were made from another folder than the present source.

    Raises:
        InputError: such data are links into that folder, and it is gone.
    """
    for data in {run.data.name: run.data for run in runs}.values():
        made = out / data.folder / "converted.json"
        before = read_json(made).get("source") if made.is_file() else None
        now = sources[data.dataset.name]
        if before is None or os.path.realpath(before) == os.path.realpath(now):
            continue
        if data.dataset.converter in LINKING and not Path(before).exists():
            raise InputError(
                f"{made.parent}: holds links to the files of {before}, which are gone; remove this folder, and it is "
                f"made again from {now}"
            )
        print(
            f"note: {data.name} was converted from {before} and is not converted again; if {now} holds other scans, "
            "choose another --out"
        )


def split_pairs(option: str, pairs: Sequence[str], known: Sequence[str]) -> dict[str, str]:
    """``DATASET=PATH`` options by data set."""
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not value or name not in known:
            raise InputError(f"{option} {pair}: expected DATASET=PATH, with one of {', '.join(known)}")
        found[name] = value
    return found


def is_finished(study: Study, out: Path, run: Run) -> bool:
    """Are its scores there, of all networks that the study asks for?"""
    names = ["scores.json", *(f"scores_{network}.json" for network in study.networks)]
    return all((out / run.folder / name).is_file() for name in names)


def name_missing(study: Study, out: Path, runs: Sequence[Run]) -> int:
    """Name the runs without scores, each with the last line of its log; exit code 1 if there are any."""
    missing = [run for run in runs if not is_finished(study, out, run)]
    for run in missing:
        print(f"MISSING {run.name}: {reason(out, run)}")
    print(f"{len(runs) - len(missing)} of {len(runs)} runs finished")
    return 1 if missing else 0


def reason(out: Path, run: Run) -> str:
    """What the newest log of a run, or of its data if they are not ready, says last."""
    from nnunetv2_mlbseg.runtime.commands import last_line

    ready = (out / run.data.folder / "preprocessed.json").is_file()
    for folder in (run.folder, *(() if ready else (run.data.folder,))):
        logs = sorted((out / folder / "logs").rglob("*.log"), key=lambda path: path.stat().st_mtime)
        if logs:
            return f"{last_line(logs[-1])} ({logs[-1].relative_to(out)})"
    return "not started"
