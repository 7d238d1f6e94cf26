"""The commands of each step, without running them: what is typed, with which files, after which kind of stop."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path

import pytest
from planned_dataset import example_plans
from study_support import read_study, write_study

from nnunetv2_mlbseg.cli.main import build_parser
from nnunetv2_mlbseg.study import step
from nnunetv2_mlbseg.study.reading.runs import described, runs_of
from nnunetv2_mlbseg.study.running import scoring
from nnunetv2_mlbseg.study.running.commands import Commands, nnunet_environment
from nnunetv2_mlbseg.study.running.locks import locked
from noise_synthesis.safe_io.errors import InputError


class Recorder:
    """Stands in for the runner of commands: keeps them, and the variables each was given."""

    def __init__(self, logs, environment, *locks):
        self.environment, self.locks = environment, locks

    def __call__(self, name, *arguments, **more):
        calls.append(([name, *map(str, arguments)], more))
        environments.append(self.environment)
        held.append(len(self.locks))
        if name == "mlbseg" and "--json" in calls[-1][0]:
            target = Path(calls[-1][0][calls[-1][0].index("--json") + 1])
            target.write_text('{"cases": []}')


calls: list = []
environments: list = []
held: list = []  # how many locks each command inherits


@pytest.fixture
def typed(monkeypatch):
    """The commands that steps would run, as a list of ``(words, variables)``."""
    calls.clear()
    environments.clear()
    held.clear()
    for module in (step, scoring):
        monkeypatch.setattr(module, "Commands", Recorder)
    return calls


def study_in(tmp_path, changes=None, only="la/semi/mlbseg/seed_0"):
    """The description that steps read, its one run, and folders as conversion and preprocessing leave them."""
    study = read_study(write_study(tmp_path, changes))
    content = described(study, runs_of(study, [only]), {"la": str(tmp_path / "scans")}, "python")
    (run,) = content["runs"]
    data = content["runs"][run]["data"]
    raw = tmp_path / data / "nnUNet_raw" / "Dataset001_la"
    for name in ("imagesTr", "labelsTr", "imagesTs", "labelsTs"):
        (raw / name).mkdir(parents=True)
        for case in ("a.1", "b_0") if name[-2:] == "Tr" else ("t_01",):
            (raw / name / (f"{case}_0000.nii.gz" if "images" in name else f"{case}.nii.gz")).touch()
    (raw / "splits_final.json").write_text(json.dumps([{"train": ["x"], "val": ["a.1", "b_0"]}]))
    (tmp_path / data / "converted.json").write_text('{"dataset": "Dataset001_la"}')
    return content, data, run


def fold_of(tmp_path, run):
    return next((tmp_path / run / "nnUNet_results" / "Dataset001_la").glob("*/fold_0"), None) or (
        tmp_path / run / "nnUNet_results" / "Dataset001_la" / "nnUNetTrainerMLBSeg__nnUNetPlans__2d" / "fold_0"
    )


def words(content, index=0):
    return " ".join(content[index][0])


def test_conversion_is_the_command_with_the_settings_options(tmp_path, typed):
    content, data, _ = study_in(tmp_path, only="la/noisy/mlbseg/seed_0")
    raw = tmp_path / data / "nnUNet_raw" / "Dataset001_la"
    (tmp_path / data / "converted.json").unlink()
    step.convert(content, tmp_path, data)
    ((command, _),) = typed
    options = "--clean 2 --noisy-ratio 1 --noise-level L1"
    place = f"{tmp_path}/scans -d 1 --name la -np 2 {options} --evaluation {tmp_path}/held_out.txt"
    assert " ".join(command) == f"mlbseg convert la {place} --force"  # an earlier attempt left the dataset
    assert build_parser().parse_args(command[1:]).source_kind == "la"
    assert json.loads((tmp_path / data / "converted.json").read_text())["dataset"] == raw.name


def test_an_existing_dataset_is_linked_and_not_converted(tmp_path, typed):
    source = tmp_path / "Dataset077_Own"
    source.mkdir()
    (source / "dataset.json").write_text("{}")
    changes = {"datasets.la.converter": "existing", "datasets.la.options": {}, "datasets.la.evaluation": None}
    content, data, _ = study_in(tmp_path, {**changes, "datasets.la.settings": {"semi": {}}})
    content["data"][data]["source"] = str(source)
    step.convert(content, tmp_path, data)
    step.convert(content, tmp_path, data)  # once more, as after a stop
    assert typed == [] and (tmp_path / data / "nnUNet_raw" / "Dataset077_Own").resolve() == source
    assert json.loads((tmp_path / data / "converted.json").read_text())["dataset"] == "Dataset077_Own"
    content["data"][data]["source"] = str(tmp_path)
    with pytest.raises(InputError, match="not an nnU-Net raw dataset"):
        step.convert(content, tmp_path, data)


def test_preprocessing_adds_the_studys_configuration_to_the_plans(tmp_path, typed):
    content, data, _ = study_in(tmp_path, {"plan": {"batch_size": 3, "planner": "nnUNetPlannerResEncM"}})
    plans = tmp_path / data / "nnUNet_preprocessed" / "Dataset001_la" / "studyPlans.json"
    plans.parent.mkdir(parents=True)
    plans.write_text(json.dumps(example_plans()))
    step.preprocess(content, tmp_path, data)
    planner = "-pl nnUNetPlannerResEncM -overwrite_plans_name studyPlans"
    assert words(typed) == f"nnUNetv2_plan_and_preprocess -d 1 -c 2d -npfp 2 -np 2 {planner}"
    assert typed[0][1] == {"nnUNet_n_proc_DA": "2"}, "whatever the user has exported for trainings"
    added = json.loads(plans.read_text())["configurations"]["2d_tiny"]
    assert added == {"inherits_from": "2d", "batch_size": 3}


@pytest.mark.parametrize(
    ("left", "options"),
    [
        ((), ""),
        (("checkpoint_latest.pth",), " --c"),
        (("checkpoint_final.pth",), " --val"),
        (("checkpoint_final.pth", "validation/summary.json"), None),
    ],
)
def test_training_goes_on_where_it_was_stopped(tmp_path, typed, left, options):
    content, _, run = study_in(tmp_path)
    for name in left:
        file = fold_of(tmp_path, run) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    step.train(content, tmp_path, run)
    command = "nnUNetv2_train 1 2d 0 -tr nnUNetTrainerMLBSeg -p nnUNetPlans -device cpu"
    assert [" ".join(words) for words, _ in typed] == ([] if options is None else [command + options])
    if typed:
        assert typed[0][1] == {"MLBSEG_CONFIG": str(tmp_path / run / "config.json"), "nnUNet_n_proc_DA": "0"}
    assert json.loads((tmp_path / run / "config.json").read_text()) == {"epochs": 2, "seed": 0}
    assert json.loads((tmp_path / run / "trained.json").read_text())["resumed"] is (options == " --c")


def test_what_runs_on_a_gpu_runs_on_one_of_its_own_and_holds_it(tmp_path, typed, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    content, _, run = study_in(tmp_path, {"device": "cuda", "networks": ["student"]})
    step.train(content, tmp_path, run)
    step.STEPS["evaluate_student"](content, tmp_path, run)
    named = dict(zip((words[0] for words, _ in typed), environments, strict=True))
    on_gpu = {name: environment["CUDA_VISIBLE_DEVICES"] for name, environment in named.items()}
    assert on_gpu["nnUNetv2_train"] == on_gpu["nnUNetv2_predict"] == "2"
    locks = dict(zip((words[0] for words, _ in typed), held, strict=True))
    assert locks["nnUNetv2_train"] == 2 and locks["nnUNetv2_predict"] == 3, "of the run, the evaluation and the GPU"
    assert {words[words.index("-device") + 1] for words, _ in typed if "-device" in words} == {"cuda"}


def test_the_validations_predictions_are_scored_on_the_held_out_cases(tmp_path, typed):
    content, data, run = study_in(tmp_path)
    (tmp_path / run).mkdir(parents=True)
    step.evaluate(content, tmp_path, run)
    folder, raw = tmp_path / run, tmp_path / data / "nnUNet_raw" / "Dataset001_la"
    files = f"--cases {folder}/held_out.json --json {folder}/scores.json --csv {folder}/scores.csv --force"
    assert words(typed) == f"mlbseg evaluate {fold_of(tmp_path, run)}/validation {raw}/labelsTr {files}"
    assert len(typed) == 1 and build_parser().parse_args(typed[0][0][1:]).force
    assert json.loads((folder / "held_out.json").read_text()) == ["a.1", "b_0"]


def test_the_networks_of_a_run_may_be_scored_side_by_side_but_not_while_it_trains(tmp_path, typed, monkeypatch):
    content, _, run = study_in(tmp_path, {"networks": ["student", "teacher"]})
    (tmp_path / run).mkdir(parents=True)
    beside = iter(["evaluate_student", "evaluate_teacher"])

    class Nested(Recorder):
        """Starts another evaluation in the midst of a command."""

        def __call__(self, name, *arguments, **more):
            other = next(beside, None)
            if other:
                step.STEPS[other](content, tmp_path, run)
            super().__call__(name, *arguments, **more)

    monkeypatch.setattr(scoring, "Commands", Nested)
    step.evaluate(content, tmp_path, run)
    scores = [words[words.index("--json") + 1] for words, _ in typed if "--json" in words]
    assert sorted(Path(path).name for path in scores) == ["scores.json", "scores_student.json", "scores_teacher.json"]
    with locked(tmp_path / run), pytest.raises(InputError, match="another process still works in it"):
        step.evaluate(content, tmp_path, run)


def test_a_further_network_predicts_the_same_cases_and_gets_scores_of_its_own(tmp_path, typed):
    content, _, run = study_in(tmp_path, {"networks": ["student", "warmup"]})
    (tmp_path / run).mkdir(parents=True)
    step.STEPS["evaluate_student"](content, tmp_path, run)
    step.STEPS["evaluate_warmup"](content, tmp_path, run)
    names = [" ".join(command[:2]) for command, _ in typed]
    assert names == [
        "mlbseg export",
        "nnUNetv2_predict -i",
        "mlbseg evaluate",
        "nnUNetv2_predict -i",
        "mlbseg evaluate",
    ]
    assert build_parser().parse_args(typed[0][0][1:]).network == "student"
    exported = tmp_path / run / "exported" / "student"
    assert typed[0][0][3] == str(exported / "Dataset001_la" / "nnUNetTrainer__nnUNetPlans__2d")
    assert typed[1][1] == {"nnUNet_results": str(exported)} and "-tr" not in typed[1][0]
    assert words(typed, 3).endswith("-npp 0 -nps 0 -tr nnUNetTrainerMLBSeg -chk checkpoint_warmup.pth")
    images = {path.name for path in (tmp_path / run / "predictions" / "student_images").iterdir()}
    assert images == {"a.1_0000.nii.gz", "b_0_0000.nii.gz"}
    written = {path.name for path in (tmp_path / run).glob("scores*.json")}
    assert written == {"scores_student.json", "scores_warmup.json"}


def test_test_cases_are_predicted_where_the_study_says_so(tmp_path, typed):
    content, data, run = study_in(tmp_path, {"datasets.la.test": True})
    (tmp_path / run).mkdir(parents=True)
    step.evaluate(content, tmp_path, run)
    final = tmp_path / run / "predictions" / "final"
    assert typed[0][0][0] == "nnUNetv2_predict" and "-chk checkpoint_final.pth" in words(typed)
    assert words(typed, 1).startswith(f"mlbseg evaluate {final} {tmp_path / data}/nnUNet_raw/Dataset001_la/labelsTs ")
    assert json.loads((tmp_path / run / "held_out.json").read_text()) == ["t_01"]


def test_a_folder_in_which_somebody_works_is_left_alone(tmp_path):
    with locked(tmp_path), pytest.raises(InputError, match="another process still works in it"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_one_thread_on_the_cpu_and_the_studys_variables_last(tmp_path, monkeypatch):
    monkeypatch.setenv("MLBSEG_CONFIG", "{}")
    study = {"processes": 2, "threads": 1, "device": "cpu", "environment": {"OMP_NUM_THREADS": "7"}}
    found = nnunet_environment(tmp_path, tmp_path / "results", {**study, "environment": {}})
    assert found["OMP_NUM_THREADS"] == "1" and "MLBSEG_CONFIG" not in found
    assert found["nnUNet_results"] == str(tmp_path / "results") and found["nnUNet_raw"] == str(tmp_path / "nnUNet_raw")
    assert nnunet_environment(tmp_path, tmp_path, study)["OMP_NUM_THREADS"] == "7"


def test_nothing_of_a_killed_command_keeps_its_locks(tmp_path, monkeypatch):
    """As when the system kills a training for its memory: its workers live on, with what they inherited."""
    script = tmp_path / "dies"
    script.write_text("#!/bin/sh\nsleep 600 &\nkill -9 $$\n")
    script.chmod(0o755)
    monkeypatch.setattr("nnunetv2_mlbseg.study.running.commands.find_script", lambda name: str(script))
    with locked(tmp_path / "run") as lock, pytest.raises(InputError, match="dies failed with exit code -9"):
        Commands(tmp_path / "logs", {"PATH": os.environ["PATH"]}, lock)("dies")
    for _ in range(100):  # until the system has ended the worker
        with contextlib.suppress(InputError), locked(tmp_path / "run"):
            return
        time.sleep(0.1)
    pytest.fail("still locked")
