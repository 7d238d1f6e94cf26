"""What is handed to Snakemake, what it makes of it in a dry run, and the command's own error lines."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from importlib import util

import pytest
from study_support import read_study, write_scores, write_study

from nnunetv2_mlbseg.cli.main import build_parser, main
from nnunetv2_mlbseg.study.reading.runs import runs_of
from nnunetv2_mlbseg.study.running import engine


@pytest.fixture
def study_file(tmp_path, monkeypatch):
    (tmp_path / "scans").mkdir()
    monkeypatch.chdir(tmp_path)
    return write_study(tmp_path)


@pytest.fixture
def without_snakemake(monkeypatch):
    """The command does all but run Snakemake, which takes seconds to start."""
    monkeypatch.setattr(engine, "wait_for", lambda command, lock: 0)


def test_a_dry_run_plans_conversion_preprocessing_training_and_evaluation_and_runs_nothing(study_file, capfd):
    out = study_file.parent / "mlbseg_study_tiny"
    assert main(["study", str(study_file), "--dry-run", "--cores", "1", "--only", "la/*/*/seed_0"]) == 0
    printed = capfd.readouterr()
    assert printed.out.startswith(f"tiny: 5 runs, 0 of them finished, in {out}\n")
    jobs = [line.split()[0] for line in (printed.out + printed.err).partition("Job stats")[2].splitlines() if line]
    jobs = sorted(
        job.rpartition("_")[0] for job in jobs if job.startswith(("convert", "preprocess", "train", "evaluate"))
    )
    runs = ["la_noisy_mlbseg", "la_noisy_uniform", "la_semi_mlbseg", "la_semi_uniform", "la_shared_clean_only"]
    per_run = [f"{step}_{run}_seed_0" for step in ("evaluate", "train") for run in runs]
    per_data = [f"{step}_la_{setting}" for step in ("convert", "preprocess") for setting in ("noisy", "semi")]
    assert set(jobs) >= {*per_run, *per_data} and len(set(jobs)) == 14
    assert not (out / "data").exists() and not (out / "runs").exists()


@pytest.mark.parametrize(
    ("changes", "predicts"),
    [
        ({"networks": ["teacher"]}, {"evaluate_teacher"}),
        ({"datasets.la.test": True}, {"evaluate"}),
        ({"device": "cpu", "networks": ["teacher"]}, {"train"}),
    ],
)
def test_what_predicts_takes_a_gpu_as_a_training_does(study_file, without_snakemake, changes, predicts):
    write_study(study_file.parent, {"device": "cuda", **changes})
    assert main(["study", str(study_file), "--dry-run", "--only", "la/semi/mlbseg/seed_0"]) == 0
    out = study_file.parent / "mlbseg_study_tiny"
    command = [sys.executable, "-m", "snakemake", "--snakefile", engine.snakefile(), "--directory", out, "--dry-run"]
    command += ["--cores", "1", "--config", f"study={out / 'study.json'}"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    jobs = re.findall(r"^rule (\w+?)_la_\w+:\n((?:    .*\n)+)", done.stdout + done.stderr, re.MULTILINE)
    assert {name for name, _ in jobs} >= {"convert", "preprocess", "train", "evaluate"}
    with_gpu = {name for name, about in jobs if re.search(r"resources: .*\bgpu=1\b", about)}
    assert with_gpu ^ {"train"} == predicts


def test_finished_runs_are_not_planned_again(study_file, capfd):
    out = study_file.parent / "mlbseg_study_tiny"
    (run,) = runs_of(read_study(study_file), ["la/semi/mlbseg/seed_0"])
    write_scores(out, run, {"a": 0.5})
    for name in ("trained.json", "preprocessed.json", "converted.json"):
        folder = out / (run.folder if name == "trained.json" else run.data.folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    assert main(["study", str(study_file), "--dry-run", "--cores", "1", "--only", run.name]) == 0
    printed = capfd.readouterr()
    assert "1 runs, 1 of them finished" in printed.out and "Nothing to be done" in printed.out + printed.err


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--cores", "0"], "--cores 0: expected 1 or more"),
        (["--only", "ct/*"], "--only ct/*: no run has such a name, for example la/shared/clean_only/seed_0"),
        (["--source", "la=nowhere"], "dataset la: source {folder}/nowhere is not a folder"),
        (["--source", "ct=x"], "--source ct=x: expected DATASET=PATH, with one of la"),
        (["--evaluation", "la=no.txt"], "--evaluation la=no.txt: no such file"),
    ],
)
def test_bad_options_are_one_line(study_file, capsys, options, line):
    assert main(["study", str(study_file), *options]) == 2
    assert capsys.readouterr().err == f"mlbseg: error: {line.format(folder=study_file.parent)}\n"


def test_a_missing_source_says_how_to_give_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    file = write_study(tmp_path, {"datasets.la.source": None})
    assert main(["study", str(file), "--dry-run"]) == 2
    line = f"mlbseg: error: {file}: dataset la: no source; give --source la=PATH, set MLBSEG_SOURCE_LA, or put 'source'"
    assert capsys.readouterr().err.startswith(line)
    monkeypatch.setenv("MLBSEG_SOURCE_LA", str(tmp_path / "elsewhere"))
    assert main(["study", str(file), "--dry-run"]) == 2
    assert capsys.readouterr().err == f"mlbseg: error: dataset la: source {tmp_path}/elsewhere is not a folder\n"


@pytest.mark.parametrize(
    ("version", "remedy"),
    [((3, 12, 0), "run pip install '.[study]'"), ((3, 10, 4), "needs Python 3.11 or newer; this is")],
)
def test_without_snakemake_the_remedy_is_said(study_file, capsys, monkeypatch, version, remedy):
    monkeypatch.setattr(util, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "version_info", version)
    assert main(["study", str(study_file)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("mlbseg: error: studies run on Snakemake, which ") and remedy in error


def test_data_made_from_another_source_is_kept_and_said(study_file, without_snakemake, capsys):
    out, (run,) = study_file.parent / "mlbseg_study_tiny", runs_of(read_study(study_file), ["la/semi/mlbseg/seed_0"])
    other, options = study_file.parent / "other", ["--dry-run", "--only", run.name]
    (other / "inside").mkdir(parents=True)
    (out / run.data.folder).mkdir(parents=True)
    (out / run.data.folder / "converted.json").write_text(json.dumps({"dataset": "x", "source": str(other)}))
    assert main(["study", str(study_file), *options]) == 0
    said = f"note: la/semi was converted from {other} and is not converted again; if {study_file.parent}/scans holds"
    assert said in capsys.readouterr().out
    assert main(["study", str(study_file), *options, "--source", f"la={other}/inside/.."]) == 0
    assert "note:" not in capsys.readouterr().out


def test_data_linked_to_a_source_that_is_gone_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scans").mkdir()
    file = write_study(tmp_path, {"datasets.la.converter": "nnunet"})
    (run,) = runs_of(read_study(file), ["la/semi/mlbseg/seed_0"])
    data = tmp_path / "mlbseg_study_tiny" / run.data.folder
    data.mkdir(parents=True)
    (data / "converted.json").write_text(json.dumps({"dataset": "x", "source": str(tmp_path / "gone")}))
    assert main(["study", str(file), "--dry-run", "--only", run.name]) == 2
    line = f"mlbseg: error: {data}: holds links to the files of {tmp_path}/gone, which are gone; remove this folder"
    assert capsys.readouterr().err.startswith(line)


def test_tables_need_neither_snakemake_nor_scans(study_file, capsys, monkeypatch):
    monkeypatch.setattr(engine, "check_installed", lambda: pytest.fail("not needed"))
    (study_file.parent / "scans").rmdir()
    assert main(["study", str(study_file), "--tables-only"]) == 1
    printed = capsys.readouterr().out
    assert "MISSING la/semi/mlbseg/seed_0: not started" in printed and "0 of 8 runs finished" in printed


def test_a_run_that_is_missing_is_named_with_the_last_line_of_its_log_or_of_its_datas(study_file, capsys):
    out = study_file.parent / "mlbseg_study_tiny"
    semi, noisy = runs_of(read_study(study_file), ["la/*/mlbseg/seed_0"])
    for folder, name, text in (
        (semi.folder, "nnUNetv2_train", "out of memory\n\n"),
        (semi.data.folder, "mlbseg", "done"),
        (noisy.data.folder, "mlbseg", "no such scan"),
    ):
        (out / folder / "logs").mkdir(parents=True)
        (out / folder / "logs" / f"{name}.log").write_text(text)
    (out / semi.data.folder / "preprocessed.json").touch()
    assert main(["study", str(study_file), "--tables-only"]) == 1
    printed = capsys.readouterr().out
    assert f"MISSING {semi.name}: out of memory ({semi.folder}/logs/nnUNetv2_train.log)\n" in printed
    assert f"MISSING {noisy.name}: no such scan ({noisy.data.folder}/logs/mlbseg.log)\n" in printed
    assert "MISSING la/semi/mlbseg/seed_1: not started\n" in printed


def test_options_after_the_dashes_are_snakemakes():
    args = build_parser().parse_args(["study", "small", "--cores", "3", "--", "--executor", "slurm", "--jobs", "20"])
    assert args.study == "small" and args.cores == 3 and args.rest == ["--executor", "slurm", "--jobs", "20"]
    assert build_parser().parse_args(["study", "small"]).rest == []


@pytest.mark.parametrize(
    ("options", "local"),
    [([], True), (["--resources", "gpu=2"], True), (["--executor=slurm"], False), (["--profile", "x"], False)],
)
def test_cores_are_this_machines_only_where_the_jobs_run_here(options, local):
    assert engine.is_local(options) is local


@pytest.mark.parametrize(
    ("options", "limit"),
    [
        ([], ["--resources", "gpu=1"]),
        (["--cores", "4"], ["--cores", "4", "--resources", "gpu=1"]),
        (["--resources", "mem_mb=64000"], ["--resources", "gpu=1", "mem_mb=64000"]),
        (["--resources=mem_mb=64000", "-p"], ["--resources", "gpu=1", "mem_mb=64000", "-p"]),
        (["--resources", "mem_mb=64000", "gpu=4"], ["--resources", "mem_mb=64000", "gpu=4"]),
        (["--resources=gpu=2"], ["--resources", "gpu=2"]),
        (["--executor", "slurm", "--jobs", "20"], ["--executor", "slurm", "--jobs", "20"]),
        (["--profile=cluster"], ["--profile=cluster"]),
    ],
)
def test_one_training_at_a_time_on_a_gpu_unless_told_otherwise(options, limit):
    assert engine.one_at_a_time(options) == limit


def test_two_studies_do_not_run_in_one_folder(study_file, capsys):
    out = study_file.parent / "mlbseg_study_tiny"
    with engine.locked(out):
        assert main(["study", str(study_file), "--cores", "1"]) == 2
    assert (
        capsys.readouterr().err
        == f"mlbseg: error: {out}: another process still works in it; wait for its end, or end it\n"
    )


def test_a_study_in_the_background_can_be_stopped():
    """A shell's background command ignores SIGINT, which must not be handed down to Snakemake."""
    snakemake = "import signal, sys, time; print(signal.getsignal(signal.SIGINT), flush=True); time.sleep(60)"
    study = (
        "import signal, sys; from nnunetv2_mlbseg.study.running import engine; "
        "signal.signal(signal.SIGINT, signal.SIG_IGN); "
        f"print(engine.wait_for([sys.executable, '-c', {snakemake!r}], 1), flush=True)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", study], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert "default_int_handler" in process.stdout.readline()
    process.terminate()
    assert process.communicate(timeout=30)[0].strip() == str(-signal.SIGINT)
