"""From a study to its runs: which there are, in which order, and when a folder is another one."""

from __future__ import annotations

import json

import pytest
from planned_dataset import example_plans
from study_support import read_study, write_study

from nnunetv2_mlbseg.study.reading.runs import data_of, described, runs_of
from nnunetv2_mlbseg.study.running.configuration import study_configuration
from noise_synthesis.safe_io.errors import InputError


def runs(tmp_path, changes=None, only=("*",)):
    return runs_of(read_study(write_study(tmp_path, changes)), only)


def test_one_seed_after_the_other_and_shared_rows_once(tmp_path):
    assert [run.name for run in runs(tmp_path)] == [
        "la/shared/clean_only/seed_0",
        "la/semi/uniform/seed_0",
        "la/noisy/uniform/seed_0",
        "la/semi/mlbseg/seed_0",
        "la/noisy/mlbseg/seed_0",
        "la/shared/clean_only/seed_1",
        "la/semi/mlbseg/seed_1",
        "la/noisy/mlbseg/seed_1",
    ]


def test_a_shared_run_fills_every_settings_row(tmp_path):
    shared = runs(tmp_path)[0]
    assert shared.places == ("la/semi", "la/noisy") and shared.data.name == "la/semi"


def test_patterns_choose_runs_and_settings(tmp_path):
    assert [run.name for run in runs(tmp_path, only=["la/semi/*/seed_1"])] == ["la/semi/mlbseg/seed_1"]
    changed = runs(tmp_path, {"variants.mlbseg.where": ["*/noisy"]})
    assert {run.name for run in changed if run.variant.name == "mlbseg"} == {
        f"la/noisy/mlbseg/seed_{k}" for k in (0, 1)
    }


def test_configuration_is_the_studys_then_the_data_sets_then_the_rows(tmp_path):
    changes = {"datasets.la.config": {"epochs": 3, "momentum": 0.5}, "variants.mlbseg.config": {"momentum": 0.6}}
    found = {run.variant.name: run.config for run in runs(tmp_path, changes)}
    assert found["mlbseg"] == {"epochs": 3, "momentum": 0.6, "seed": 1}
    assert found["clean_only"] == {"epochs": 3, "momentum": 0.5, "seed": 1}


@pytest.mark.parametrize(
    ("changes", "changed"),
    [
        ({"variants.mlbseg.title": "Ours", "retries": 3, "device": "cuda"}, set()),
        ({"variants.mlbseg.config": {"momentum": 0.5}}, {"mlbseg"}),
        ({"variants.uniform.trainer": "nnUNetTrainer"}, {"uniform"}),
        ({"config": {"epochs": 4}}, {"clean_only", "uniform", "mlbseg"}),
        ({"plan": {"batch_size": 3}}, {"clean_only", "uniform", "mlbseg"}),
    ],
)
def test_another_folder_for_what_changes_the_result_and_only_for_that(tmp_path, changes, changed):
    before, after = runs(tmp_path), runs(tmp_path, changes)
    moved = {new.variant.name for old, new in zip(before, after, strict=True) if old.folder != new.folder}
    assert moved == changed


def test_the_held_out_list_counts_by_its_cases_not_by_its_path(tmp_path):
    study = read_study(write_study(tmp_path))
    before = {name: data.folder for name, data in data_of(study).items()}
    (tmp_path / "held_out.txt").write_text("a\n\nb\n")
    assert {name: data.folder for name, data in data_of(study).items()} == before
    (tmp_path / "held_out.txt").write_text("a\nc\n")
    assert not set(before.values()) & {data.folder for data in data_of(study).values()}


def test_the_description_for_the_engine_is_plain_json(tmp_path):
    study = read_study(write_study(tmp_path))
    found = json.loads(json.dumps(described(study, runs_of(study), {"la": "/scans"}, "python")))
    assert len(found["data"]) == 2 and len(found["runs"]) == 8
    assert {data["source"] for data in found["data"].values()} == {"/scans"}
    assert all(run["data"] in found["data"] for run in found["runs"].values())


def test_the_studys_configuration_stands_beside_the_planned_ones():
    plan = {"base": "2d", "configuration": "2d_x", "patch_size": [48, 48], "batch_size": None, "features": [8, 16, 32]}
    found = study_configuration(example_plans(), {**plan, "overrides": {"batch_dice": False}})["configurations"]
    small = found.pop("2d_x")
    assert found == example_plans()["configurations"]
    assert small.pop("architecture")["arch_kwargs"]["features_per_stage"] == [8, 16, 32]
    assert small == {"inherits_from": "2d", "patch_size": [48, 48], "batch_dice": False}


def test_a_patch_that_the_studys_network_cannot_halve_is_refused_before_any_training():
    plan = {"base": "2d", "configuration": "2d_x", "patch_size": [50, 48], "batch_size": None, "features": [8, 16, 32]}
    with pytest.raises(InputError, match="patch size is 50 x 48, expected multiples of 4 x 4"):
        study_configuration(example_plans(), {**plan, "overrides": {}})


def test_a_list_means_its_cases_however_it_is_saved(tmp_path):
    """The folders of runs that are done stay theirs."""
    study = read_study(write_study(tmp_path))
    before = [run.folder for run in runs_of(study)]
    (tmp_path / "held_out.txt").write_bytes("# held out\r\na\r\nb # the last\r\n".encode("utf-16"))
    assert [run.folder for run in runs_of(study)] == before
    (tmp_path / "held_out.txt").write_text("a\nc\n")
    assert all(run.folder not in before for run in runs_of(study))


def test_a_comparison_method_gets_its_own_settings_and_those_of_all_that_it_has(tmp_path):
    """``views`` is MLB-Seg's alone, ``epochs`` is everybody's, ``ramp_up`` the other's."""
    other = {"trainer": "nnUNetTrainerMeanTeacher", "config": {"ramp_up": 0.5}, "seeds": [0]}
    changes = {"config": {"epochs": 2, "views": ["flip"]}, "variants.other": other}
    found = {run.variant.name: run.config for run in runs(tmp_path, changes)}
    assert found["other"] == {"epochs": 2, "ramp_up": 0.5, "seed": 0}
    assert found["uniform"] == {"epochs": 2, "views": ["flip"], "weighting": "uniform", "seed": 0}
    folders = [run.folder for run in runs(tmp_path, {"config": {"epochs": 2}})]
    assert set(folders) < {run.folder for run in runs(tmp_path, {"config": {"epochs": 2}, "variants.other": other})}


@pytest.mark.parametrize(
    ("trainer", "key"), [("nnUNetTrainerMeanTeacher", "views"), ("nnUNetTrainerMLBSeg", "agreement_weight")]
)
def test_a_key_that_a_rows_trainer_lacks_is_refused_there(tmp_path, trainer, key):
    changes = {"variants.other": {"trainer": trainer, "config": {key: 1}}}
    with pytest.raises(InputError, match=f"variant other: config: unknown configuration key '{key}'"):
        runs(tmp_path, changes)
