"""Labels on disk: what is written is read, what is incomplete is not taken for complete."""

from __future__ import annotations

import numpy as np
import pytest

from nnunetv2_mlbseg.cases.label_store import LabelStore
from noise_synthesis.safe_io.errors import InputError

SEG = np.random.default_rng(0).integers(0, 3, (1, 4, 20, 18)).astype(np.int16)
LOCATIONS = {1: np.argwhere(SEG == 1), 2: [], (-1, 0, 1): np.argwhere(SEG < 2)}


def _saved(folder) -> LabelStore:
    labels = LabelStore(folder / "generated")
    labels.start("network-a")
    labels.save("case", SEG, LOCATIONS, (16, 16))
    return labels


def test_label_and_class_locations_come_back_unchanged(tmp_path):
    seg, locations = _saved(tmp_path).load("case")
    assert np.array_equal(seg[:], SEG)
    assert set(locations) == set(LOCATIONS)
    for key, expected in LOCATIONS.items():
        assert np.array_equal(locations[key], np.asarray(expected, dtype=np.int64))


def test_a_case_counts_only_once_it_is_marked(tmp_path):
    labels = _saved(tmp_path)
    assert labels.complete() == set()
    labels.mark_complete("case")
    labels.mark_complete("case")
    assert labels.complete() == {"case"}


def test_the_same_network_goes_on_and_another_one_starts_anew(tmp_path):
    labels = _saved(tmp_path)
    labels.mark_complete("case")
    labels.start("network-a")
    assert labels.complete() == {"case"}
    labels.start("network-b")
    assert labels.complete() == set() and labels.source() == "network-b"
    assert [path.name for path in labels.folder.iterdir()] == ["manifest.json"]


def test_no_folder_means_no_labels(tmp_path):
    labels = LabelStore(tmp_path / "generated")
    assert labels.source() is None and labels.complete() == set()


def test_a_missing_file_names_the_case(tmp_path):
    with pytest.raises(InputError, match="expected the generated label of case other"):
        _saved(tmp_path).load("other")


def test_a_foreign_manifest_is_an_error(tmp_path):
    labels = _saved(tmp_path)
    (labels.folder / "manifest.json").write_text("[]")
    with pytest.raises(InputError, match="expected an object with the keys source and cases"):
        labels.complete()


def test_nothing_temporary_stays(tmp_path):
    assert sorted(path.name for path in _saved(tmp_path).folder.iterdir()) == [
        "case.b2nd",
        "case_locations.npz",
        "manifest.json",
    ]
