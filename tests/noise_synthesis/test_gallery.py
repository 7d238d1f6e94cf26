"""The gallery: a picture of the right size, on made-up organs or on a user's own labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from noise_examples import blob, blobs, run_noise
from scipy.ndimage import label as connected_components

from noise_synthesis import gallery
from noise_synthesis.calibration.levels import LEVELS
from noise_synthesis.recipes.table import RECIPES
from noise_synthesis.synthetic_shapes import synthetic_volume


def test_one_column_per_recipe_and_one_row_per_level(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, dict[str, gallery.Panel]] = {}
    save = gallery._save
    monkeypatch.setattr(gallery, "_save", lambda path, columns: (seen.update(columns), save(path, columns)))
    gallery.draw_gallery(tmp_path / "g.png", blobs(2))
    assert list(seen) == list(RECIPES)
    assert all(list(panels) == list(LEVELS) for panels in seen.values())
    assert seen["class_confusion"]["L2"].problem == "not for\nthese labels"
    shown = seen["rotation_morphology"]["L3"]
    assert shown.dice == pytest.approx(LEVELS["L3"], abs=0.2) and shown.clean is not None
    picture = imread(tmp_path / "g.png")
    assert picture.shape[1] > picture.shape[0] > 400 and picture[..., :3].std() > 0.02
    assert [path.name for path in tmp_path.iterdir()] == ["g.png"]


def test_from_the_command_line_on_own_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import SimpleITK as sitk

    monkeypatch.setattr(gallery, "SHOWN_CASES", 2)
    monkeypatch.setattr(gallery, "RECIPES", {"over_segmentation": RECIPES["over_segmentation"]})
    (tmp_path / "labels").mkdir()
    for seed in range(5):
        sitk.WriteImage(sitk.GetImageFromArray(blob(seed).voxels), str(tmp_path / "labels" / f"{seed}.nii.gz"))
    assert list(gallery.some_of_folder(tmp_path / "labels")) == ["0", "3"]
    assert run_noise(tmp_path / "labels", "--gallery", tmp_path / "own.png") == 0
    size = (tmp_path / "own.png").stat().st_size
    assert size > 1000
    assert run_noise(tmp_path / "labels", "--gallery", tmp_path / "own.png") == 2
    assert run_noise(tmp_path / "labels", "--gallery", tmp_path / "own.png", "--force") == 0


def test_made_up_organs_are_in_one_piece_and_no_two_alike() -> None:
    first, second = (synthetic_volume(seed).voxels for seed in (0, 1))
    pieces, _ = connected_components(first)
    assert np.bincount(pieces.ravel())[1:].max() > 0.97 * first.sum()
    assert (first != second).any() and (synthetic_volume(0).voxels == first).all()
    assert first[:, [0, -1]].sum() == first[:, :, [0, -1]].sum() == first[[0, -1]].sum() == 0
    assert set(np.unique(synthetic_volume(0, classes=2).voxels)) == {0, 1, 2}
