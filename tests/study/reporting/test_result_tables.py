"""Tables against values worked out by hand, intervals against scipy, and what is said about runs that are missing."""

from __future__ import annotations

import csv
import io
import json
import math

import numpy as np
import pytest
from scipy import stats
from study_support import read_study, write_scores, write_study

from nnunetv2_mlbseg.study.reading.paper import method_names, paper_numbers, reported, table_names
from nnunetv2_mlbseg.study.reading.runs import runs_of
from nnunetv2_mlbseg.study.reporting.render import comma_separated, latex, markdown
from nnunetv2_mlbseg.study.reporting.report import study_tables, write_report
from nnunetv2_mlbseg.study.reporting.results import read_scores
from nnunetv2_mlbseg.study.reporting.statistics import mean_and_deviation, paired_difference
from noise_synthesis.safe_io.errors import InputError

TABLE = {"title": "LA", "where": ["la/semi"], "measures": ["dice", "hd_voxels"]}


def study_with_scores(tmp_path, table=None, **changes):
    """Scores such that means are round: 70 and 74 for the clean-only seeds, 80 for the finished one of MLB-Seg."""
    study = read_study(write_study(tmp_path, {"tables": [{**TABLE, **(table or {})}], **changes}))
    runs = {run.name: run for run in runs_of(study)}
    write_scores(tmp_path, runs["la/shared/clean_only/seed_0"], {"a": 0.6, "b": 0.8})
    write_scores(tmp_path, runs["la/shared/clean_only/seed_1"], {"a": 0.7, "b": 0.78})
    write_scores(tmp_path, runs["la/semi/mlbseg/seed_0"], {"a": 0.75, "b": 0.85}, hd=None)
    return study, list(runs.values())


def rows(table):
    return {line.split(" | ")[0].removeprefix("| "): line for line in markdown(table).splitlines() if line[:2] == "| "}


def test_means_and_deviations_are_over_seeds_of_means_over_cases(tmp_path):
    scores, differences = study_tables(*study_with_scores(tmp_path), tmp_path)
    lines = rows(scores)
    # Seeds: (60 + 80) / 2 = 70 and (70 + 78) / 2 = 74; mean 72, deviation sqrt((2^2 + 2^2) / 1) = 2.83.
    assert lines["Clean only"] == "| Clean only | 72.00 ± 2.83 | 2.00 ± 0.00 |"
    assert lines["MLB-Seg"] == "| MLB-Seg | 80.00 | - |"  # one seed; no distance in either case
    assert lines["uniform"] == "| uniform | missing | missing |"
    text = markdown(scores)
    assert "seeds (1 to 2 per row) of means over 2 held-out cases; no deviation where one seed ran" in text
    assert "missing runs (2): la/semi/uniform/seed_0, la/semi/mlbseg/seed_1" in text
    assert "mlbseg in la/semi: no distance for 2 predictions" in text
    # Only seed 0 is finished in both rows: a: 75 - 60 = 15, b: 85 - 80 = 5; mean 10.
    assert rows(differences)["MLB-Seg"].startswith("| MLB-Seg | +10.00 [")
    assert "Clean only" not in rows(differences)


def test_rows_may_be_settings_and_columns_the_rows_titles(tmp_path):
    table = {"where": ["la/*"], "layout": "settings", "variants": ["clean_only", "mlbseg"], "measures": ["dice"]}
    lines = rows(study_tables(*study_with_scores(tmp_path, table), tmp_path)[0])
    assert lines["setting"] == "| setting | Clean only: Dice % | MLB-Seg: Dice % |"
    assert lines["semi"] == "| semi | 72.00 ± 2.83 | 80.00 |"
    assert lines["noisy"] == "| noisy | 72.00 ± 2.83 | missing |"  # the shared run stands in both


def test_a_row_that_the_study_keeps_out_of_a_setting_is_not_in_its_table(tmp_path):
    scores = study_tables(*study_with_scores(tmp_path, **{"variants.uniform.where": ["la/noisy"]}), tmp_path)[0]
    assert set(rows(scores)) == {"row", "---", "Clean only", "MLB-Seg"}


def test_the_papers_numbers_stand_beside_and_are_marked(tmp_path):
    paper = {"table": "table2", "rows": {"mlbseg": "MLB-Seg", "clean_only": "UNet++"}}
    scores = study_tables(*study_with_scores(tmp_path, {"paper": paper}), tmp_path)[0]
    lines = rows(scores)
    assert lines["row"] == "| row | Dice % | Dice % (paper) | HD voxels | HD voxels (paper) |"
    assert lines["MLB-Seg"] == "| MLB-Seg | 80.00 | 88.69 | - | 8.99 |"
    assert lines["uniform"] == "| uniform | missing |  | missing |  |"
    assert "(paper): as the paper reports, Table 2" in markdown(scores)


def test_csv_has_every_number_in_full_and_latex_is_escaped(tmp_path):
    scores, differences = study_tables(*study_with_scores(tmp_path), tmp_path)
    found = list(csv.DictReader(io.StringIO(comma_separated(scores))))
    assert float(found[0]["Dice %, mean"]) == pytest.approx(72) and found[1]["Dice %, remark"] == "missing"
    assert float(found[0]["Dice %, standard deviation"]) == pytest.approx(math.sqrt(8))
    difference = next(csv.DictReader(io.StringIO(comma_separated(differences))))
    assert float(difference["minus Clean only, mean"]) == pytest.approx(10)
    assert float(difference["minus Clean only, low"]) <= 10 <= float(difference["minus Clean only, high"])
    text = latex(scores)
    assert r"row & Dice \% & HD voxels \\" in text and r"Clean only & 72.00 $\pm$ 2.83 & 2.00 $\pm$ 0.00 \\" in text
    assert r"la/semi/uniform/seed\_0" in text and text.count(r"\begin{tabular}{lrr}") == 1


def test_the_report_holds_all_tables_and_files_for_each(tmp_path, capsys):
    study, runs = study_with_scores(tmp_path)
    write_report(study, runs, tmp_path)
    names = {path.name for path in (tmp_path / "tables").iterdir()}
    stems = ("table_01", "table_01_differences")
    assert names == {f"{stem}.{ending}" for stem in stems for ending in ("md", "csv", "tex")}
    report = (tmp_path / "report.md").read_text()
    assert report.startswith("# tiny\n\n**LA**\n") and "paired differences in Dice %" in report
    assert "72.00 ± 2.83" in capsys.readouterr().out


def test_without_tables_in_the_file_there_is_one_per_setting(tmp_path):
    study = read_study(write_study(tmp_path))
    tables = study_tables(study, runs_of(study), tmp_path)
    assert [table.title for table in tables if "differences" not in table.title] == ["la, semi", "la, noisy"]


def test_classes_of_a_case_are_averaged_and_an_undefined_distance_stays_undefined(tmp_path):
    path = tmp_path / "scores.json"
    path.write_text(
        '{"cases": [{"case": "a", "class": "x", "dice": 0.5, "hd_voxels": 1.0},'
        ' {"case": "a", "class": "y", "dice": 0.7, "hd_voxels": null}]}'
    )
    cases, scores = read_scores(path, ("dice", "hd_voxels"))
    assert cases == ("a",) and scores["dice"] == pytest.approx([60]) and math.isnan(scores["hd_voxels"][0])


def test_scores_of_other_cases_are_not_averaged(tmp_path):
    study, runs = study_with_scores(tmp_path)
    other = next(run for run in runs if run.name == "la/shared/clean_only/seed_1")
    write_scores(tmp_path, other, {"a": 0.5, "c": 0.5})
    with pytest.raises(InputError, match="holds other cases than the other seeds of this row"):
        study_tables(study, runs, tmp_path)


def test_seeds_that_were_trained_differently_are_pointed_out(tmp_path):
    study, runs = study_with_scores(tmp_path)
    for run in runs:
        if run.variant.name == "clean_only":
            trained = {"version": "1", "device": "cpu", "config": {"seed": run.seed, "epochs": 3 + run.seed}}
            (tmp_path / run.folder / "trained.json").write_text(json.dumps(trained))
    text = markdown(study_tables(study, runs, tmp_path)[0])
    assert "* clean_only in la/semi: its seeds were trained with different epochs\n" in text + "\n"
    (tmp_path / runs[0].folder / "trained.json").write_text('{"device": "cpu"}')  # by an earlier version
    assert "trained with different version\n" in markdown(study_tables(study, runs, tmp_path)[0])


def test_a_file_that_is_no_score_file_is_named(tmp_path):
    path = tmp_path / "scores.json"
    path.write_text('{"cases": [{"case": "a"}]}')
    with pytest.raises(InputError, match=r"scores.json: not what 'mlbseg evaluate' writes"):
        read_scores(path, ("dice",))


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1.0, 3.0], (2.0, math.sqrt(2))), ([5.0], (5.0, math.nan)), ([math.nan, 4.0], (4.0, math.nan))],
)
def test_mean_and_deviation(values, expected):
    assert mean_and_deviation(np.array(values)) == pytest.approx(expected, nan_ok=True)


def test_the_interval_is_scipys_for_the_mean_paired_difference():
    rng = np.random.default_rng(5)
    reference = rng.normal(80, 5, 16)
    ours = reference + rng.normal(2, 1.5, 16)
    found = paired_difference(ours, reference)
    assert found.mean == pytest.approx((ours - reference).mean()) and found.cases == 16
    paired = stats.bootstrap(
        (ours, reference),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=9999,
        method="BCa",
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((paired.low, paired.high), abs=0.05)
    assert found.low < found.mean < found.high
    assert paired_difference(ours, reference) == found  # the same scores give the same report


def test_differences_without_variation_or_cases_have_no_made_up_interval():
    constant = paired_difference(np.array([3.0, 4.0]), np.array([1.0, 2.0]))
    assert (constant.mean, constant.low, constant.high) == (2, 2, 2)
    one = paired_difference(np.array([3.0, math.nan]), np.array([1.0, 2.0]))
    assert one.mean == 2 and one.cases == 1 and math.isnan(one.low)
    assert paired_difference(np.array([math.nan]), np.array([1.0])).cases == 0


def test_the_papers_numbers_are_those_in_its_tables():
    assert table_names() == ["table1", "table2", "table3", "noise_levels", "table4", "figure3b"]
    assert reported("table3", "MLB-Seg", "promise12", "dice") == 80.83
    assert reported("table4", "0/75/25", "la", "asd_voxels") == 2.57
    assert reported("table4", "0/75/25", "promise12", "hd_voxels") is None
    assert reported("figure3b", "Q=1, teacher", "la", "dice") is None
    assert all(len(set(method_names(table))) == len(method_names(table)) for table in table_names())
    assert all(entry["title"] for entry in paper_numbers()["tables"].values())
