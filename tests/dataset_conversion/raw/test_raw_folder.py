"""A dataset appears complete or not at all, and only under a free number."""

from __future__ import annotations

import pytest

from dataset_conversion.raw.folder import building, find_dataset, free_number, target_folder
from noise_synthesis.safe_io.errors import InputError


@pytest.fixture
def raw(nnunet_folders, tmp_path):
    return tmp_path / "nnUNet_raw"


def test_appears_when_complete(raw):
    target = raw / "Dataset501_LA"
    with building(target) as folder:
        (folder / "dataset.json").write_text("{}")
        assert not target.exists()
        assert not list(raw.glob("Dataset*"))
    assert (target / "dataset.json").exists()
    assert [path.name for path in raw.iterdir()] == ["Dataset501_LA"]


def test_leaves_nothing_after_a_failure(raw):
    with pytest.raises(RuntimeError), building(raw / "Dataset501_LA"):
        raise RuntimeError
    assert list(raw.iterdir()) == []


def test_what_a_killed_run_left_is_not_mixed_in(raw):
    left = raw / ".Dataset501_LA.partial" / "imagesTr" / "old_0000.nii.gz"
    left.parent.mkdir(parents=True)
    left.write_text("old")
    with building(raw / "Dataset501_LA"):
        pass
    assert not list(raw.rglob("old*"))
    assert sorted(path.name for path in raw.iterdir()) == ["Dataset501_LA"]


def test_replaces_only_at_the_end(raw):
    target = raw / "Dataset501_LA"
    target.mkdir()
    (target / "old").write_text("old")
    with pytest.raises(RuntimeError), building(target):
        raise RuntimeError
    assert (target / "old").exists()
    with building(target) as folder:
        (folder / "new").write_text("new")
    assert not (target / "old").exists()
    assert (target / "new").exists()
    assert [path.name for path in raw.iterdir()] == ["Dataset501_LA"]


def test_two_at_once_are_refused(raw):
    with (
        building(raw / "Dataset501_LA"),
        pytest.raises(InputError, match="another process"),
        building(raw / "Dataset501_LA"),
    ):
        pass


@pytest.mark.parametrize("place", ["nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"])
def test_number_taken_by_another_name(raw, place):
    (raw.parent / place / "Dataset501_Other").mkdir()
    for force in (False, True):
        with pytest.raises(InputError, match=r"number taken by .*Dataset501_Other"):
            target_folder(501, "LA", force)


def test_number_taken_by_the_same_name(raw):
    (raw / "Dataset501_LA").mkdir()
    with pytest.raises(InputError, match="--force"):
        target_folder(501, "LA", force=False)
    assert target_folder(501, "LA", force=True) == raw / "Dataset501_LA"


def test_preprocessed_data_of_the_same_name_is_no_obstacle(raw):
    (raw.parent / "nnUNet_preprocessed" / "Dataset501_LA").mkdir()
    assert target_folder(501, "LA", force=False) == raw / "Dataset501_LA"


@pytest.mark.parametrize(("number", "name"), [(0, "LA"), (1000, "LA"), (-1, "LA"), (5, "a/b"), (5, ""), (5, ".x")])
def test_impossible_numbers_and_names(raw, number, name):
    with pytest.raises(InputError, match="expected"):
        target_folder(number, name, force=False)


def test_unset_variable(raw, monkeypatch):
    monkeypatch.delenv("nnUNet_raw")
    with pytest.raises(InputError, match="nnUNet_raw is not set"):
        target_folder(5, "LA", force=False)


def test_finding_a_dataset(raw, tmp_path):
    folder = raw / "Dataset007_X"
    folder.mkdir()
    (folder / "dataset.json").write_text("{}")
    assert (
        find_dataset("7") == find_dataset("007") == find_dataset("Dataset007_X") == find_dataset(str(folder)) == folder
    )
    for text in ("8", "Dataset008_Y", str(tmp_path)):
        with pytest.raises(InputError):
            find_dataset(text)
    (raw / "Dataset007_Z").mkdir()
    with pytest.raises(InputError, match="Dataset007_X, Dataset007_Z all have"):
        find_dataset("7")


def test_free_number_looks_everywhere(raw):
    for place, number in (("nnUNet_raw", 1), ("nnUNet_preprocessed", 2), ("nnUNet_results", 3)):
        (raw.parent / place / f"Dataset{number:03d}_X").mkdir()
    assert free_number() == 4


def test_a_folder_that_cannot_be_written_to_is_said_with_a_way_out(raw, monkeypatch):
    def refuse(*arguments, **options):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    way_out = "set nnUNet_raw to a folder of yours, and name a dataset to start from by its path"
    with pytest.raises(InputError, match=f"^{raw}: cannot be written to .Read-only file system.*; {way_out}$"):  # noqa: SIM117
        with building(raw / "Dataset501_LA"):
            pass
