"""The report of an audit: one file, which no name can break, and its size."""

from __future__ import annotations

import json
import re

import pytest
from report_example import ABOUT, NAMES, write_example

from nnunetv2_mlbseg.audit.report import MOST_BYTES, PAGE, SCRIPTS, bytes_per_case, page


def test_the_report_is_one_file_that_names_cannot_break(tmp_path):
    write_example(tmp_path / "report.html", 3)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", text)
    assert "</script><b>" not in text
    data = data_of(tmp_path / "report.html")
    assert [row["rank"] for row in data["cases"]] == [1, 2, 3]
    assert data["about"]["dataset"] == ABOUT["dataset"]
    assert list(data["cases"][0]["class_scores"]) == [NAMES[1], NAMES[2]]


def data_of(path):
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


def test_the_page_holds_every_file_of_its_folder_and_nothing_else_is_there():
    text = page()
    files = {path.name: path.read_text(encoding="utf-8") for path in PAGE.iterdir()}
    assert set(files) == {"page.html", "style.css", *(f"{name}.js" for name in SCRIPTS)}
    assert all(content in text for name, content in files.items() if name != "page.html")
    assert re.findall(r"/\*[A-Z]+\*/", text) == ["/*DATA*/"]


def test_findings_have_words_and_small_ones_are_counted(tmp_path):
    write_example(tmp_path / "report.html", 3)
    row = data_of(tmp_path / "report.html")["cases"][0]
    assert row["regions"][0]["words"] == "right & co drawn about 4.0 mm too small on slice 2"
    sizes = [region["size_mm3"] for region in row["regions"]]
    assert sizes == sorted(sizes, reverse=True)
    assert row["small"] == {"count": len(sizes) - row["shown"], "mm3": pytest.approx(sum(sizes[row["shown"] :]))}
    assert row["expected_gain"] > 0 and "confusion" not in row


def test_audits_have_names_of_their_own(tmp_path):
    names = []
    for count, sources in ((3, False), (3, False), (4, False), (3, True)):
        write_example(tmp_path / "report.html", count, sources=sources)
        names.append(data_of(tmp_path / "report.html")["about"]["audit"])
    assert names[0] == names[1] and len(set(names)) == 3


def test_many_cases_share_the_room():
    assert 80 * bytes_per_case(80) <= MOST_BYTES < 30e6
    assert bytes_per_case(1) < MOST_BYTES


def luminance(colour: str) -> float:
    """Of #rgb or #rrggbb, by WCAG 2.1."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    shares = [int(digits[k : k + 2], 16) / 255 for k in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted(map(luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def test_text_and_buttons_stand_out_as_wcag_asks_for():
    """Text 4.5 to 1, edges of buttons 3 to 1 (level AA), in the dark, the light and the printed page."""
    assert contrast("#000", "#ffffff") == pytest.approx(21)
    style = (PAGE / "style.css").read_text(encoding="utf-8")
    themes = [
        dict(re.findall(r"--([a-z-]+): (#[0-9a-f]+);", block)) for block in re.findall(r":root[^{]*{([^}]*)}", style)
    ]
    assert len(themes) == 3
    for theme in themes:
        for ink in ("ink", "soft", "mark", "good", "warn"):
            for ground in ("panel", "raised", "chosen"):
                assert contrast(theme[ink], theme[ground]) >= 4.5, (ink, ground)
        assert contrast(theme.get("on-mark", "#fff"), theme["mark"]) >= 4.5
        assert contrast(theme["edge"], theme["panel"]) >= 3
