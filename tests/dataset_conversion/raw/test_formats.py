"""Every reader of nnU-Net: what it says of a case is the same before and after every command that makes a dataset."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from nnunetv2.imageio.reader_writer_registry import recursive_find_reader_writer_by_name
from PIL import Image
from reader_examples import CASES, EXAMPLES, Example, as_nnunet_reads, phantom, write_example

from dataset_conversion.raw.formats import DatasetFormat, dataset_format, folder_format
from nnunetv2_mlbseg.cli.main import main
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.reading import read_image


@pytest.fixture(params=EXAMPLES)
def example(request) -> Example:
    return EXAMPLES[request.param]


@pytest.fixture
def raw(nnunet_folders) -> Path:
    return Path(nnunet_folders["nnUNet_raw"])


@pytest.fixture
def source(raw, example) -> Path:
    return write_example(raw / "Dataset010_Own", example)


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def split(number: int) -> int:
    given = ("--clean", "k[0-3]", "--noisy", "k4", "k5", "--unlabeled", "rest")
    return run("split", 10, "-d", number, *given, "-np", 1)


def entries(properties: Any) -> tuple[list[str], list[float]]:
    """Names and texts, and numbers, in their order."""
    names: list[str] = []
    numbers: list[float] = []

    def walk(found: Any) -> None:
        if isinstance(found, dict):
            for name, value in found.items():
                names.append(name)
                walk(value)
        elif isinstance(found, list):
            for value in found:
                walk(value)
        elif isinstance(found, str):
            names.append(found)
        else:
            numbers.append(found)

    walk(properties)
    return names, numbers


def same(before: dict, after: dict, *, label: bool) -> None:
    assert after["image"] == before["image"]
    (names, numbers), (names_before, numbers_before) = (entries(one["properties"]) for one in (after, before))
    assert names == names_before
    np.testing.assert_allclose(numbers, numbers_before, rtol=1e-6)  # NIfTI keeps single precision
    if label:
        np.testing.assert_array_equal(after["label"], before["label"])


def problems(number: int, capsys) -> str:
    capsys.readouterr()
    run("check", number, "--skip-nnunet", "-np", 1)
    return capsys.readouterr().out


def test_split_leaves_every_property_of_a_case(source, raw, example, capsys):
    assert split(11) == 0
    for case in CASES:
        after = as_nnunet_reads(raw / "Dataset011_Own", example, case)
        same(as_nnunet_reads(source, example, case), after, label=case < "k6")
        assert case < "k6" or (after["label"] == 2).all()
    assert "8 cases, 0 problems, 0 warnings" in problems(11, capsys)


def test_convert_leaves_every_property_of_a_case(source, raw, example, capsys):
    options = ("--name", "New", "--clean", 2, "--noisy-ratio", 0.5, "--noise-level", "0.8", "-np", 1)
    assert run("convert", "nnunet", 10, "-d", 12, *options) == 0
    roles = {
        role: json.loads((raw / f"Dataset012_New/supervision/{role}.json").read_text()) for role in ("clean", "noisy")
    }
    for case in CASES:
        after = as_nnunet_reads(raw / "Dataset012_New", example, case)
        same(as_nnunet_reads(source, example, case), after, label=case in roles["clean"])
        if case in roles["noisy"]:
            assert set(np.unique(after["label"])) == {0, 1}
    assert "8 cases, 0 problems, 0 warnings" in problems(12, capsys)


def test_an_accepted_label_leaves_every_property_of_a_case(source, raw, example, tmp_path):
    assert split(11) == 0
    corrected = tmp_path / "corrected"
    corrected.mkdir()
    files = dataset_format(
        json.loads((source / "dataset.json").read_text()), [source / f"imagesTr/k4_0000{example.ending}"]
    )
    volume, grid = files.read(source / "labelsTr" / f"k4{example.ending}")
    files.write(1 - volume.voxels, grid, corrected / f"k4{example.ending}")
    (tmp_path / "s.json").write_text(json.dumps({"dataset": "Dataset011_Own", "cases": {"k4": "proposal"}}))
    assert run("audit", 11, "--apply", tmp_path / "s.json", "--corrected", corrected, "-d", 13) == 0
    before, after = (as_nnunet_reads(folder, example, "k4") for folder in (source, raw / "Dataset013_Own"))
    same(before, after, label=False)
    np.testing.assert_array_equal(after["label"], 1 - before["label"])


def test_numbers_are_written_on_the_voxels_of_a_label(source, example, tmp_path):
    """Written by ours, read by nnU-Net's reader of volumes; a picture of numbers is a tiff file."""
    files = folder_format([source / "labelsTr" / f"k4{example.ending}"], source)
    volume, grid = files.read(source / "labelsTr" / f"k4{example.ending}")
    values = np.random.default_rng(0).random(volume.voxels.shape).astype(np.float32)
    files.write_values(values, grid, tmp_path / f"v{files.values_ending}")
    found = DatasetFormat(files.reader_writer, files.values_ending).channels([tmp_path / f"v{files.values_ending}"])
    np.testing.assert_array_equal(found.voxels[0], values)
    if example.reader != "Tiff3DIO":  # its files of numbers have no spacing beside them
        assert found.grid.difference(grid.grid) is None


def test_noise_leaves_every_property_of_a_label(source, example, tmp_path):
    assert run("noise", source / "labelsTr", tmp_path / "labelsTr", "--level", 0.8, "-np", 1) == 0
    shutil.copytree(source / "imagesTr", tmp_path / "imagesTr")
    for case in CASES:
        before, after = (as_nnunet_reads(folder, example, case) for folder in (source, tmp_path))
        same(before, after, label=False)
        assert set(np.unique(after["label"])) == {0, 1} and (after["label"] != before["label"]).any()


def test_labels_alone_are_read_by_the_first_reader_that_can(source, example, tmp_path):
    """No dataset.json says which one it is: sheared files are left to nibabel, also uncompressed ones."""
    shutil.copytree(source / "labelsTr", tmp_path / "alone")
    assert run("noise", tmp_path / "alone", tmp_path / "noisy", "--level", 0.8, "-np", 1) == 0
    assert run("evaluate", tmp_path / "noisy", tmp_path / "alone") == 0
    files = DatasetFormat(recursive_find_reader_writer_by_name(example.reader), example.ending)
    grids = [files.read(folder / f"k0{example.ending}")[1].grid for folder in (tmp_path / "noisy", source / "labelsTr")]
    assert grids[0].difference(grids[1]) is None


def test_scores_of_a_folder_with_itself_are_perfect(source, example, tmp_path):
    shutil.copytree(source / "labelsTr", tmp_path / "same")
    assert run("evaluate", tmp_path / "same", source / "labelsTr", "--json", tmp_path / "s.json") == 0
    rows = json.loads((tmp_path / "s.json").read_text())["cases"]
    assert [row["dice"] for row in rows] == [1.0] * len(CASES) and {row["hd_mm"] for row in rows} == {0.0}


def test_four_dimensions_are_refused_with_a_way_out(raw, capsys):
    """nnU-Net trains on them, and fails when it writes the first segmentation."""
    source = write_example(raw / "Dataset010_Own", EXAMPLES["nrrd, oblique"])
    path = source / "imagesTr" / "k3_0000.nrrd"
    image = sitk.ReadImage(str(path))
    sitk.WriteImage(sitk.JoinSeries([image, image]), str(path))
    assert "PROBLEM [unreadable image] case k3" in problems(10, capsys)
    assert split(11) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "k3_0000.nrrd: has four dimensions" in line and "save every volume in a file of its own" in line
    assert not (raw / "Dataset011_Own").exists()


@pytest.mark.parametrize("kind", ["three equal channels", "palette"])
def test_a_label_of_colours_is_named_with_a_way_out(raw, capsys, kind):
    source = write_example(raw / "Dataset010_Own", EXAMPLES["png, colours"])
    path = source / "labelsTr" / "k5.png"
    grey = Image.open(path)
    pixels = np.asarray(grey)
    if kind == "palette":
        picture = Image.fromarray(pixels, mode="P")
        picture.putpalette([0, 0, 0, 200, 30, 30])
    else:
        picture = Image.fromarray(np.stack([pixels] * 3, -1))
    picture.save(path)
    said = problems(10, capsys)
    assert "PROBLEM [unreadable label] case k5" in said and "has 3 channels" in said and "save it as a grey" in said
    assert split(11) == 2 and "k5.png: has 3 channels" in capsys.readouterr().err


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("part", ["image", "label"])
def test_a_cut_file_is_refused_by_name_or_read_in_full(source, example, share, part):
    """Never zeros, or what was in memory before, in place of what is missing."""
    folder, name = ("imagesTr", "k3_0000") if part == "image" else ("labelsTr", "k3")
    path = source / folder / f"{name}{example.ending}"
    files = DatasetFormat(recursive_find_reader_writer_by_name(example.reader), example.ending)

    def read() -> np.ndarray:
        return files.channels([path]).voxels if part == "image" else files.read(path)[1].voxels

    whole = read()
    cut = path.with_suffix(".raw") if example.ending == ".mhd" else path
    content = cut.read_bytes()
    cut.write_bytes(content[: int(share * len(content))])
    try:
        found = read()
    except InputError as error:
        assert str(path) in str(error) and "\n" not in str(error)
    else:
        np.testing.assert_array_equal(found, whole)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha", ".gipl"])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32])
def test_every_cut_of_a_volume_is_refused(tmp_path, ending, kind):
    """All kinds of numbers; the file loses half of its bytes, or its last ones."""
    image = sitk.GetImageFromArray(np.random.default_rng(0).integers(1, 100, (6, 20, 24)).astype(kind))
    path = tmp_path / f"a{ending}"
    sitk.WriteImage(image, str(path), True)
    assert read_image(path).GetSize() == (24, 20, 6)
    content = path.read_bytes()
    for length in (len(content) // 2, len(content) - 30):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=f"a{ending}: cannot be read"):
            read_image(path)


def test_a_damaged_byte_in_compressed_voxels_is_noticed(tmp_path):
    """ITK looks at no checksum of these formats."""
    image = sitk.GetImageFromArray(np.random.default_rng(0).integers(1, 100, (6, 20, 24)).astype(np.uint8))
    for ending in (".nii.gz", ".mha"):
        path = tmp_path / f"a{ending}"
        sitk.WriteImage(image, str(path), True)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0x55
        path.write_bytes(bytes(content))
        with pytest.raises(InputError, match="damaged or cut short"):
            read_image(path)


def test_a_stack_whose_spacing_nnunet_does_not_find_is_refused_with_the_name_that_it_needs(raw, tmp_path, capsys):
    """Its reader looks for the spacing of ``u0.tif`` under a name five characters shorter."""
    example = EXAMPLES["tif, stack"]
    write_example(raw / "Dataset010_Own", example)
    archive = tmp_path / "archive"
    archive.mkdir()
    example.write(phantom(9, example)[0], archive / "u0.tif", "u0")
    given = ("--clean", "k[0-3]", "--noisy", "rest", "--unlabeled-images", archive)
    assert run("split", 10, "-d", 11, *given, "-np", 1) == 2
    assert "rename the image to u0_0000.tif" in capsys.readouterr().err and not (raw / "Dataset011_Own").exists()
    (archive / "u0.tif").rename(archive / "u0_0000.tif")
    assert run("split", 10, "-d", 11, *given, "-np", 1) == 0
    reader = recursive_find_reader_writer_by_name(example.reader)()
    image = reader.read_images([str(raw / "Dataset011_Own" / "imagesTr" / "u0_0000.tif")])[1]
    label = reader.read_seg(str(raw / "Dataset011_Own" / "labelsTr" / "u0.tif"))[1]
    assert image["spacing"] == label["spacing"] == [0.2, 1.0, 0.3]
