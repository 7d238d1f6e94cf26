"""Reading and writing files: bounded JSON, nothing half-written, one line for what a disk refuses."""

from __future__ import annotations

import argparse
import errno
import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from dataset_conversion.supervision.case_names import is_case_name, is_file_ending
from noise_synthesis.safe_io import files
from noise_synthesis.safe_io.command_line import EXIT_BROKEN_PIPE, run_command
from noise_synthesis.safe_io.damage import NotFiniteError, refuse_damaged
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.reading import read_image
from noise_synthesis.safe_io.whole_files import refuse_incomplete, write_whole


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' occurs twice in one object"),
        (b"[" * 33 + b"]" * 33, "nested more than 32 deep"),
        (b"[" * 200_000, "not valid JSON"),
        (b"1" * 5000, "not valid JSON"),
        (b"", "not valid JSON"),
        (b"\xff\xfe[]", "not valid JSON"),
    ],
)
def test_strange_json_is_one_line(tmp_path, content, words):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(InputError, match=words) as error:
        files.read_json(tmp_path / "x.json")
    assert str(error.value).startswith(str(tmp_path / "x.json")) and "\n" not in str(error.value)


def test_json_is_bounded_in_size_and_comes_from_plain_files(tmp_path, monkeypatch):
    (tmp_path / "x.json").write_text("[1, 2, 3]")
    assert files.read_json(tmp_path / "x.json") == [1, 2, 3]
    monkeypatch.setattr(files, "MOST_BYTES", 8)
    with pytest.raises(InputError, match="9 bytes, expected at most 8"):
        files.read_json(tmp_path / "x.json")
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "loop.json").symlink_to("loop.json")
    for name, words in (("pipe.json", "not a file"), (".", "not a file"), ("loop.json", "cannot be read")):
        with pytest.raises(InputError, match=words):
            files.read_json(tmp_path / name)


def test_a_byte_order_mark_and_32_levels_are_fine(tmp_path):
    (tmp_path / "x.json").write_bytes(b"\xef\xbb\xbf" + b"[" * 32 + b"]" * 32)
    assert files.read_json(tmp_path / "x.json")


def test_leftovers_of_killed_processes_are_removed_and_nothing_else(tmp_path):
    with pytest.raises(KeyboardInterrupt), files.atomic_path(tmp_path / "a.pth") as temporary:
        temporary.write_text("x")
        os.link(temporary, tmp_path / f"{temporary.name}.kept")  # as a kill would leave it
        raise KeyboardInterrupt
    (tmp_path / ".hidden").touch()
    (tmp_path / "b.pth").touch()
    assert len(files.remove_leftovers(tmp_path)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "b.pth"]
    assert files.remove_leftovers(tmp_path / "nowhere") == []


def test_an_error_of_the_disk_names_the_file_itself(tmp_path):
    with pytest.raises(OSError) as error, files.atomic_path(tmp_path / "missing" / "a.json") as temporary:
        temporary.write_text("x")
    assert error.value.filename == str(tmp_path / "missing" / "a.json")


def _image() -> sitk.Image:
    return sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 9, (4, 16, 16)).astype(np.int16))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_cut_or_damaged_gzip_is_refused(tmp_path, share):
    path = tmp_path / "a.nii.gz"
    write_whole(_image(), path)
    refuse_damaged(path)
    refuse_incomplete(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match="damaged or cut short"):
        refuse_damaged(path)
    flipped = bytearray(content)
    flipped[-6] ^= 1  # in the checksum
    path.write_bytes(bytes(flipped))
    with pytest.raises(InputError, match="damaged or cut short"):
        refuse_damaged(path)


UNUSUAL = {
    "not compressed": gzip.decompress,
    "zeros behind it": lambda content: content + bytes(600),
    "one byte behind it": lambda content: content + b"\x1f",
    "two members": lambda c: gzip.compress(gzip.decompress(c)[:999]) + gzip.compress(gzip.decompress(c)[999:]),
}


@pytest.mark.parametrize("what", UNUSUAL)
def test_an_unusual_file_that_itk_reads_is_taken(tmp_path, what):
    path = tmp_path / "a.nii.gz"
    write_whole(_image(), path)
    path.write_bytes(UNUSUAL[what](path.read_bytes()))
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), sitk.GetArrayFromImage(_image()))
    refuse_damaged(path)
    refuse_incomplete(path)


@pytest.mark.parametrize("what", UNUSUAL)
@pytest.mark.parametrize("value", [1.0, np.nan])
def test_nan_is_found_in_unusual_files_too(tmp_path, what, value):
    path = tmp_path / "a.nii.gz"
    write_whole(sitk.GetImageFromArray(np.full((3, 8, 8), value, np.float32)), path)
    path.write_bytes(UNUSUAL[what](path.read_bytes()))
    if np.isfinite(value):
        refuse_damaged(path)
    else:
        with pytest.raises(NotFiniteError, match="holds NaN or infinite values"):
            refuse_damaged(path)


def test_every_member_must_be_whole(tmp_path):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(b"first") + gzip.compress(b"second")[:-1])
    with pytest.raises(InputError, match="damaged or cut short"):
        refuse_damaged(path)


def test_a_file_named_gz_that_is_no_image_is_left_to_the_reader(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(b"no gzip" * 99)
    refuse_damaged(tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match=r"a\.nii\.gz"):
        read_image(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_file_that_itk_cut_without_a_word_is_noticed(tmp_path, monkeypatch, ending):
    written = sitk.WriteImage

    def cut(image, name, **options):
        written(image, name, **options)
        whole = Path(name).read_bytes()
        Path(name).write_bytes(gzip.compress(gzip.decompress(whole)[:-1]) if name.endswith(".gz") else whole[:-1])

    monkeypatch.setattr(sitk, "WriteImage", cut)
    with pytest.raises(OSError, match="not written completely"):
        write_whole(_image(), tmp_path / f"a{ending}")
    with pytest.raises(OSError, match="not written completely"):
        refuse_incomplete(tmp_path / f"a{ending}")
    (tmp_path / f"b{ending}").write_bytes(b"")
    with pytest.raises(OSError, match="not written completely"):
        refuse_incomplete(tmp_path / f"b{ending}")


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_what_is_written_whole_reads_back_and_a_missing_folder_is_an_oserror(tmp_path, ending):
    write_whole(_image(), tmp_path / f"a{ending}")
    read = sitk.ReadImage(str(tmp_path / f"a{ending}"))
    assert np.array_equal(sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(_image()))
    with pytest.raises(OSError):
        write_whole(_image(), tmp_path / "missing" / f"a{ending}")


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), 2, "mlbseg: error: /x/y: No space left on device"),
        (PermissionError(errno.EACCES, "Permission denied"), 2, "mlbseg: error: Permission denied"),
    ],
)
def test_a_command_says_what_the_disk_refuses_in_one_line(capsys, error, code, words):
    def run(args):
        raise error

    assert run_command(run, argparse.Namespace(debug=False)) == code
    assert capsys.readouterr().err.strip() == words


def test_a_reader_that_leaves_ends_a_command_quietly(capfd):
    def run(args):
        raise BrokenPipeError

    saved = os.dup(1)
    try:
        assert run_command(run, argparse.Namespace(debug=False)) == EXIT_BROKEN_PIPE
    finally:
        os.dup2(saved, 1)
        os.close(saved)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["a", "a b", "Grüße", "a.b", "心臓", "x" * 200])
def test_names_of_cases(name):
    assert is_case_name(name)


@pytest.mark.parametrize("name", ["", ".a", "a/b", "..", "a\\b", "a\nb", "a\0b", "\ud800", "x" * 201])
def test_what_cannot_name_a_case(name):
    assert not is_case_name(name)


def test_file_endings():
    assert is_file_ending(".nii.gz") and is_file_ending(".png")
    assert not any(map(is_file_ending, ["", "nii", ".", "..", "./x", ".nii.gz/..", 3, None]))
