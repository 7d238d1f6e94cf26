"""The report of an audit: one file, which no name can break, and its size."""

from __future__ import annotations

import json
import re

from report_example import ABOUT, NAMES, write_example

from nnunetv2_mlbseg.audit.report import MOST_BYTES, bytes_per_case


def test_the_report_is_one_file_that_names_cannot_break(tmp_path):
    write_example(tmp_path / "report.html", 3)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", text)
    assert "</script><b>" not in text
    embedded = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1]
    data = json.loads(embedded)
    assert [row["rank"] for row in data["cases"]] == [1, 2, 3]
    assert data["about"]["dataset"] == ABOUT["dataset"]
    assert list(data["cases"][0]["class_scores"]) == [NAMES[1], NAMES[2]]


def test_many_cases_share_the_room():
    assert 80 * bytes_per_case(80) <= MOST_BYTES < 30e6
    assert bytes_per_case(1) < MOST_BYTES


# --- in a browser -------------------------------------------------------------------------------------------------
