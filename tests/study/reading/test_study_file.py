"""Study files: what they mean, and one clear line for whatever is wrong in them."""

from __future__ import annotations

import pytest
from conftest import REPOSITORY
from study_support import read_study, write_study

from nnunetv2_mlbseg.study.reading.converter_options import arguments_of
from nnunetv2_mlbseg.study.reading.study_file import find_study, shipped
from noise_synthesis.safe_io.errors import InputError

FIGURE = {"kind": "weights_over_training", "title": "W", "with_teacher": "mlbseg", "without_teacher": "mlbseg"}
BAD = {
    "unknown key": ({"sedes": [1]}, "tiny.yaml: unknown key 'sedes'; did you mean 'seeds'?"),
    "no seeds": ({"seeds": None}, "tiny.yaml: seeds is missing, expected a list of whole numbers, 0 or more each"),
    "a seed twice": ({"seeds": [1, 1]}, "tiny.yaml: seeds: [1, 1] names a seed twice"),
    "bad seed": ({"seeds": ["a"]}, "tiny.yaml: seeds is ['a'], expected a list of whole numbers, 0 or more each"),
    "device": ({"device": "gpu"}, "tiny.yaml: device is 'gpu', expected one of cpu, cuda, mps"),
    "configuration key": (
        {"config": {"epoch": 3}},
        "tiny.yaml: config: unknown configuration key 'epoch'; did you mean 'epochs'?",
    ),
    "configuration value": (
        {"variants.mlbseg.config": {"epochs": -1}},
        "tiny.yaml: variant mlbseg: config: epochs is -1, expected a whole number, 0 or more",
    ),
    "seed in config": ({"config": {"seed": 1}}, "tiny.yaml: config: seed is set per run, by 'seeds'"),
    "converter": ({"datasets.la.converter": "ct"}, "tiny.yaml: dataset la: converter is 'ct', expected one of la, "),
    "held-out list": ({"datasets.la.evaluation": "no.txt"}, "tiny.yaml: dataset la: no.txt is not a file in "),
    "converter option": (
        {"datasets.la.options": {"clean": 2, "noisyness": 1}},
        "tiny.yaml: dataset la: converter la has no option 'noisyness' for studies; it has [",
    ),
    "option of all settings": (
        {"datasets.la.settings.semi": {"clean": 4}},
        "tiny.yaml: dataset la: setting semi: 'clean' must be the same in all settings of a data set",
    ),
    "noise level": (
        {"datasets.la.settings.semi": {"noise_level": "L9"}},
        "tiny.yaml: dataset la: setting semi: noise level: got 'L9', expected L1, L2, L3 or a Dice between 0 and 1",
    ),
    "share": (
        {"datasets.la.settings.semi": {"noisy_ratio": 2}},
        "tiny.yaml: dataset la: setting semi: expected a share between 0 and 1, got 2",
    ),
    "recipe": (
        {"datasets.la.settings.semi": {"noise_recipe": "blur"}},
        "tiny.yaml: dataset la: setting semi: argument --noise-recipe/--recipe: invalid choice: 'blur'",
    ),
    "name of a setting": (
        {"datasets.la.settings": {"shared": {}}},
        "tiny.yaml: dataset la: settings: the name 'shared' cannot be used",
    ),
    "name with a slash": ({"variants": {"a/b": {}}}, "tiny.yaml: variants: the name 'a/b' cannot be used"),
    "pattern": (
        {"variants.mlbseg.where": ["ct/*"]},
        "tiny.yaml: variant mlbseg: where has 'ct/*', which no DATASET/SETTING",
    ),
    "compare to": (
        {"compare_to": ["x"]},
        "tiny.yaml: compare_to is ['x'], expected a list from clean_only, uniform, mlbseg",
    ),
    "plan": ({"plan": {"patch_size": [48, "x"]}}, "tiny.yaml: plan: patch_size is [48, 'x'], expected a list of whole"),
    "two stages": ({"plan": {"features": [4, 8]}}, "tiny.yaml: plan: features is [4, 8], expected 3 stages or more"),
    "resources": ({"resources": {"gpu": 1.5}}, "tiny.yaml: resources: gpu is 1.5, expected a whole number or a text"),
    "environment": ({"environment": {"A": True}}, "tiny.yaml: environment: A is True, expected a text (in quotes)"),
    "table": (
        {"tables": [{"title": "A", "where": ["la/*"], "variants": ["x"]}]},
        "tiny.yaml: tables, number 1: variants is ['x'], expected a list from clean_only, uniform, mlbseg",
    ),
    "no measure": (
        {"tables": [{"title": "A", "where": ["la/*"], "measures": []}]},
        "tiny.yaml: tables, number 1: measures is [], expected a list from dice, jaccard, ",
    ),
    "no word": (
        {"tables": [{"title": "A", "where": ["la/*"], "measures": [{"dice": 1}]}]},
        "tiny.yaml: tables, number 1: measures is [{'dice': 1}], expected a list from dice, jaccard, ",
    ),
    "figure of two places": (
        {"figures": [FIGURE | {"where": ["*"]}]},
        "tiny.yaml: figures, number 1: where names ['la/semi', 'la/noisy'], expected one of them for weights_over_tr",
    ),
    "paper's row": (
        {"tables": [{"title": "A", "where": ["la/*"], "paper": {"table": "table2", "rows": {"mlbseg": "X"}}}]},
        "tiny.yaml: tables, number 1: paper: rows: table2 has no row 'X'; it has ['UNet++', ",
    ),
    "existing with options": (
        {"datasets.la.converter": "existing"},
        "tiny.yaml: dataset la: converter existing takes the raw dataset as it is",
    ),
}


@pytest.mark.parametrize(("changes", "line"), BAD.values(), ids=BAD)
def test_whatever_is_wrong_is_one_line_that_names_the_place(tmp_path, changes, line):
    with pytest.raises(InputError) as error:
        read_study(write_study(tmp_path, changes))
    assert str(error.value).startswith(f"{tmp_path}/{line}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name: [a", "not valid YAML in line 1, column 9"),
        ("seeds: [0]\nseeds: [1]", "not valid YAML: the key 'seeds' stands twice in the mapping that begins in line 1"),
        ("- a", "got ['a'], expected a mapping of keys and values"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text, line):
    file = tmp_path / "a.yaml"
    file.write_text(text)
    with pytest.raises(InputError) as error:
        read_study(file)
    assert str(error.value).startswith(f"{file}: {line}")


def test_a_study_file_says_what_it_says(tmp_path):
    study = read_study(write_study(tmp_path, {"plan": {"batch_size": 4, "features": [8, 16, 16]}}))
    assert study.plan.configuration == "2d_tiny" and study.plan.features == (8, 16, 16)
    assert list(study.datasets["la"].settings) == ["semi", "noisy"]
    assert study.datasets["la"].evaluation == tmp_path / "held_out.txt"
    assert study.variants["clean_only"].shared and study.variants["clean_only"].seeds == (0, 1)
    assert study.variants["uniform"].seeds == (0,) and study.variants["uniform"].title == "uniform"
    assert study.threads == 1 and study.retries == 1


def test_an_unchanged_plan_is_trained_as_nnunet_made_it(tmp_path):
    assert read_study(write_study(tmp_path)).plan.configuration == "2d"


def test_options_are_typed_as_on_the_command_line():
    options = {"noisy_ratio": 0.5, "paper": True, "per_slice": False, "spacing": [1, 1, 2]}
    typed = ["--noisy-ratio", "0.5", "--paper", "--no-per-slice", "--spacing", "1", "1", "2"]
    assert arguments_of(options) == typed


@pytest.mark.parametrize("name", shipped())
def test_the_shipped_studies_are_valid_and_found_by_name(name):
    assert read_study(find_study(name)).name == name


def test_an_unknown_study_is_answered_with_those_there_are():
    with pytest.raises(
        InputError, match=r"^nothing: no such file, and no shipped study of this name \(there are .*small"
    ):
        find_study("nothing")


def test_the_example_in_the_documentation_is_a_valid_study(tmp_path):
    text = (REPOSITORY / "docs" / "how-to" / "studies.md").read_text(encoding="utf-8")
    (tmp_path / "held_out.txt").write_text("a\n")
    (tmp_path / "mine.yaml").write_text(text.split("```yaml\n")[1].split("```")[0])
    study = read_study(tmp_path / "mine.yaml")
    assert study.plan.configuration == "2d_mine" and list(study.variants) == ["clean_only", "mlbseg", "two_views"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_study_file_from_another_system_is_the_same_study(tmp_path, encoding):
    file = write_study(tmp_path)
    before = read_study(file)
    file.write_bytes(file.read_text().replace("\n", "\r\n").encode(encoding))
    assert read_study(file) == before
