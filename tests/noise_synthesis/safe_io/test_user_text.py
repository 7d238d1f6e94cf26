"""Lists, JSON and names as editors of any system save them: all mean the same."""

from __future__ import annotations

import json
import unicodedata

import pytest

from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import read_json
from noise_synthesis.safe_io.text import as_on_disk, read_text
from noise_synthesis.safe_io.text_lists import read_name_list

ONE, TWO = "Jos\u00e9 1", "J\u00fcrgen#2"  # with one character for each accented letter
TWO_CHARACTERS = "Jose\u0301 1"
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32")  # the last three begin with a byte order mark
LINE_ENDS = ("\n", "\r\n", "\r")


def test_the_two_spellings_differ_for_a_computer_and_look_the_same():
    assert ONE != TWO_CHARACTERS and unicodedata.normalize("NFD", ONE) == TWO_CHARACTERS


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", LINE_ENDS)
def test_a_list_is_the_same_in_every_encoding_and_with_every_line_end(tmp_path, encoding, end):
    path = tmp_path / "list.txt"
    path.write_bytes(end.join(["# mine", ONE, "", f"  {TWO}\t# looks well", ""]).encode(encoding))
    assert read_name_list(path) == [ONE, TWO]


def test_big_endian_with_a_mark_and_joined_files(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes("\ufeffa\nb\n".encode("utf-16-be"))
    assert read_name_list(path) == ["a", "b"]
    path.write_bytes("a\n".encode("utf-8-sig") + "b\n".encode("utf-8-sig"))
    assert read_name_list(path) == ["a", "b"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_json_is_the_same_in_every_encoding(tmp_path, encoding):
    path = tmp_path / "list.json"
    path.write_bytes(json.dumps([ONE, TWO], ensure_ascii=False).encode(encoding))
    assert read_json(path) == read_name_list(path) == [ONE, TWO]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("Jos\u00e9".encode("latin-1"), r"not UTF-8 text \(.*\); save it as UTF-8"),
        ("one".encode("utf-16-le"), "zero bytes, so it is not UTF-8 text; save it as UTF-8"),
        (b"\xff\xfea", "not UTF-16 text"),
        (b"\xef\xbb\xbf", "no case in this list"),
        (f"{ONE}\n{TWO_CHARACTERS}".encode(), "listed more than once: Jos\u00e9 1"),
    ],
)
def test_what_is_no_list_is_said_in_one_line(tmp_path, content, said):
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(InputError, match=rf"list\.txt: .*{said}") as caught:
        read_name_list(tmp_path / "list.txt")
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_text(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_text(tmp_path)


def test_names_are_spelled_as_on_disk():
    assert as_on_disk([ONE, "b", "c"], [TWO_CHARACTERS, "b"]) == [TWO_CHARACTERS, "b", "c"]
    assert as_on_disk([TWO_CHARACTERS], [ONE]) == [ONE]
    both = [ONE, TWO_CHARACTERS]  # two files of names that look the same: each means itself
    assert as_on_disk(both, both) == both
    assert as_on_disk(["\u212b"], ["\u00c5", "A\u030a"]) == ["\u212b"], "which of the two is not known"
