"""The table of configuration keys in the documentation says what the code does."""

from __future__ import annotations

import json
import re

from conftest import REPOSITORY

from nnunetv2_mlbseg.methods.mlbseg.settings import MLBSegSettings
from nnunetv2_mlbseg.settings.overrides import resolve


def test_every_key_is_documented_with_its_values():
    text = (REPOSITORY / "docs" / "training.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| .+ \|$", text, flags=re.M)
    table = {key: (default, paper) for key, default, paper in rows}
    defaults, paper = resolve(MLBSegSettings).as_dict(), resolve(MLBSegSettings, {"preset": "paper"}).as_dict()
    assert list(table) == list(defaults)
    for key, (shown, shown_paper) in table.items():
        assert json.loads(shown) == defaults[key]
        assert json.loads(shown_paper or shown) == paper[key]
