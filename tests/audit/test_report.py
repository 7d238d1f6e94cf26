"""The report of an audit: its pictures, its size, and that a person can sort, search, switch and scroll in it."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from PIL import Image

from nnunetv2_mlbseg.audit.label_files import Label
from nnunetv2_mlbseg.audit.network_opinion import Opinion
from nnunetv2_mlbseg.audit.one_case import Settings, Witnesses, audit_case
from nnunetv2_mlbseg.audit.report import MOST_BYTES, bytes_per_case, write_report
from nnunetv2_mlbseg.audit.tables import ranked
from nnunetv2_mlbseg.audit.thumbnails import thumbnails
from nnunetv2_mlbseg.audit.weight_maps import WeightMaps
from nnunetv2_mlbseg.maths.weighting.depth import depth_levels

NAMES = {0: "background", 1: "left </script><b>", 2: "right & co"}
ABOUT = {
    "dataset": "Dataset900_<b>Tiny</b>", "trainer": "nnUNetTrainerMLBSeg", "configuration": "2d", "fold": "0",
    "checkpoint": "checkpoint_final.pth", "epoch": 3, "witnesses": None,
    "weights": {"weighting": "tied", "normalization": "joint", "none_because": None},
    "corrections": {"sentence": "Corrections cannot be trusted: <b>."},
}  # fmt: skip


def audited_case(name: str, seed: int, shape=(6, 30, 40)):
    """Two squares; the label misses rows of one, more with every seed."""
    rng = np.random.default_rng(seed)
    truth = np.zeros(shape, np.int64)
    truth[1:5, 5:20, 5:15], truth[1:5, 5:20, 20:35] = 1, 2
    given = truth.copy()
    given[2, 5 : 7 + seed % 10] = 0
    logits = 5.0 * np.stack([truth == k for k in range(3)]) + rng.normal(0, 0.5, (3, *shape))
    image = sitk.GetImageFromArray(given.astype(np.uint8))
    image.SetSpacing((1.0, 1.5, 4.0))
    label = Label(Path(name), image, torch.from_numpy(given))
    probabilities = torch.from_numpy(logits).float().softmax(0)
    share = torch.where(label.classes == probabilities.argmax(0), 0.5, 0.1)
    share[2, 5:7, 8:15] = 0.9
    weights = WeightMaps(share, 1 - share)
    opinion, levels = Opinion(probabilities, probabilities), depth_levels(label.classes)
    audited = audit_case(name, opinion, label, Witnesses(None), Settings(0.9, 0.0), 0, levels, weights)
    return audited, rng.random(shape)


def test_pictures_hold_image_labels_and_suspicion_of_the_slices_that_matter():
    audited, image = audited_case("a", 3)
    found = thumbnails(audited, image, 0, 10**6)
    assert found.slices == (1, 2, 3, 4)
    assert (found.width, found.height) == (40, 45)  # 40 x 1.0 mm and 30 x 1.5 mm in pixels of 1 mm
    layers = np.asarray(Image.open(io.BytesIO(found.layers)))
    assert layers.shape == (4 * 45, 40, 3)
    assert Image.open(io.BytesIO(found.image)).size == (40, 180)
    rows = np.arange(45) * 30 // 45
    np.testing.assert_array_equal(layers[45:90, :, 0] & 15, audited.label.classes[2].numpy()[rows])
    np.testing.assert_array_equal(layers[45:90, :, 0] >> 4, audited.likely[2].numpy()[rows])
    np.testing.assert_array_equal(layers[45:90, :, 1] & 15, audited.network[2].numpy()[rows])
    np.testing.assert_array_equal(layers[45:90, :, 1] >> 4, audited.proposal[2].numpy()[rows])
    np.testing.assert_allclose((layers[45:90, :, 2] & 15) / 15, audited.suspicion[2].numpy()[rows], atol=0.034)
    share = audited.weights.share[2].numpy()[rows]
    np.testing.assert_allclose(((layers[45:90, :, 2] >> 4) - 1.0) / 14, share, atol=0.036)
    assert {0.1, 0.5, 0.9} == set(np.round(share.astype(float), 3).flat)
    without = dataclasses.replace(audited, weights=None)
    blue = np.asarray(Image.open(io.BytesIO(thumbnails(without, image, 0, 10**6).layers)))[..., 2]
    np.testing.assert_array_equal(blue, layers[..., 2] & 15)


def test_pictures_keep_to_their_size_and_to_the_worst_slices():
    audited, image = audited_case("a", 3)
    assert thumbnails(audited, image, 0, 1).slices == (2,)
    turned = audited_case("b", 3, shape=(6, 40, 40))[0]
    assert len(thumbnails(turned, np.zeros((6, 40, 40)), 2, 10**6).slices) > 10


def write(path: Path, count: int, shape=(6, 30, 40), fill: int = 0) -> None:
    """A report of ``count`` cases; with ``fill``, all show the pictures of one case, which take so many bytes."""
    rows, pictures, shared = [], {}, None
    for seed in range(count):
        audited, image = audited_case(f"case_{seed:03d}", seed, shape if not fill else (6, 30, 40))
        rows.append(audited.numbers(NAMES))
        if fill and shared is None:
            tall = Image.fromarray((np.indices((192 * 30, 192)).sum(0) % 200).astype(np.uint8))
            files = [io.BytesIO(), io.BytesIO()]
            tall.save(files[0], "JPEG", quality=30)
            codes = np.zeros((192 * 30, 192, 3), np.uint8)
            codes[:, 60:120] = (17, 17, 9)
            Image.fromarray(codes).save(files[1], "PNG")
            base = thumbnails(audited, image, 0, 10**6)
            image_file, layers = (file.getvalue() for file in files)
            image_file += b"\0" * max(0, fill * 3 // 4 - len(image_file) - len(layers))
            shared = type(base)(tuple(range(30)), 192, 192, image_file, layers)
        pictures[f"case_{seed:03d}"] = shared or thumbnails(audited, image, 0, bytes_per_case(count))
    for row in rows if fill else ():
        row["slice_scores"] = [0.9] * 30
    write_report(path, ABOUT, ranked(rows), pictures)


def test_the_report_is_one_file_that_names_cannot_break(tmp_path):
    write(tmp_path / "report.html", 3)
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


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium on a screen of laptop size."""
    from selenium import webdriver

    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not (program and driver):
        pytest.skip("no Chromium with chromedriver on PATH: the report was not tried in a browser")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1366,768"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield found
    found.quit()


def opened(browser, path: Path):
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(path.as_uri())
    WebDriverWait(browser, 60).until(lambda page: page.execute_script("return document.body.dataset.ready"))
    return browser


def shown_cases(page) -> list[str]:
    return page.execute_script("return [...document.querySelectorAll('#cases tbody tr')].map(row => row.dataset.case)")


def view(page) -> str:
    return page.execute_script("return document.getElementById('view').toDataURL()")


def press(page, *keys) -> None:
    from selenium.webdriver.common.by import By

    page.find_element(By.TAG_NAME, "body").send_keys(*keys)


def until(page, condition) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(page, 20).until(lambda _: condition())


@pytest.fixture
def page(browser, tmp_path):
    write(tmp_path / "report.html", 12)
    return opened(browser, tmp_path / "report.html")


def click(page, selector: str) -> None:
    from selenium.webdriver.common.by import By

    page.find_element(By.CSS_SELECTOR, selector).click()


def where(page) -> str:
    return page.execute_script("return document.getElementById('where').textContent")


def title(page) -> str:
    return page.execute_script("return document.getElementById('title').textContent")


@pytest.mark.integration
def test_in_a_browser_the_table_sorts_and_searches(page):
    from selenium.webdriver.common.by import By

    worst_first = shown_cases(page)
    assert len(worst_first) == 12
    assert page.find_element(By.ID, "corrections").text == ABOUT["corrections"]["sentence"]
    click(page, "th[data-key=case] button")
    assert shown_cases(page) == sorted(worst_first)
    click(page, "th[data-key=case] button")
    assert shown_cases(page) == sorted(worst_first, reverse=True)
    assert page.find_element(By.CSS_SELECTOR, "th[data-key=case]").get_attribute("aria-sort") == "descending"
    click(page, "th[data-key=score] button")
    assert shown_cases(page) == worst_first
    page.find_element(By.ID, "search").send_keys("CASE_007")
    assert shown_cases(page) == ["case_007"]
    assert not [line for line in page.get_log("browser") if line["level"] == "SEVERE"]


@pytest.mark.integration
def test_in_a_browser_layers_switch_and_slices_scroll(page):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    assert where(page).startswith("Slice 2,")  # the one with the missing rows
    pictures = [view(page)]
    for key in "12345":
        press(page, key)
        pictures.append(view(page))
    assert len(set(pictures)) == 6
    press(page, "5")
    press(page, "4")
    assert page.find_element(By.CSS_SELECTOR, "#layers input[value=suspicion]").is_selected()
    click(page, "#layers input[value=suspicion]")
    assert view(page) == pictures[4]
    press(page, Keys.ARROW_DOWN)
    assert where(page).startswith("Slice 3,")
    press(page, Keys.ARROW_UP, Keys.ARROW_UP)
    assert where(page).startswith("Slice 1,")
    origin = ScrollOrigin.from_element(page.find_element(By.ID, "view"))
    ActionChains(page).scroll_from_origin(origin, 0, 100).perform()
    until(page, lambda: where(page).startswith("Slice 2,"))


@pytest.mark.integration
def test_in_a_browser_cases_change_by_key_and_click_and_decisions_are_saved(page):
    from selenium.webdriver.common.keys import Keys

    order = shown_cases(page)
    press(page, Keys.ARROW_RIGHT)
    until(page, lambda: title(page) == f"2. {order[1]}")
    click(page, f"tr[data-case={order[3]}] button")
    until(page, lambda: title(page) == f"4. {order[3]}")
    page.execute_script(
        "const pick = document.querySelector(`tr[data-case=${arguments[0]}] select`);"
        "pick.value = 'proposal'; pick.onchange();"
        "HTMLAnchorElement.prototype.click = function () { window.saved = [this.download, this.href]; };",
        order[3],
    )
    click(page, "#save")
    name = page.execute_script("return window.saved[0]")
    text = page.execute_script("return decodeURIComponent(window.saved[1].slice(window.saved[1].indexOf(',') + 1))")
    assert name == "SELECTION.json"
    assert json.loads(text) == {"dataset": ABOUT["dataset"], "cases": {order[3]: "proposal"}}


@pytest.mark.integration
def test_in_a_browser_nothing_is_wider_than_a_laptop(page):
    assert page.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.integration
def test_in_a_browser_eighty_full_cases_open_at_once(browser, tmp_path):
    path = tmp_path / "report.html"
    write(path, 80, fill=bytes_per_case(80))
    assert 25e6 < path.stat().st_size < 30e6
    page = opened(browser, path)
    took_ms = int(page.execute_script("return document.body.dataset.ready"))
    print(f"80 cases, {path.stat().st_size / 1e6:.1f} MB: {took_ms} ms")
    assert took_ms < 6000  # 2000 on an idle machine; tests share theirs
