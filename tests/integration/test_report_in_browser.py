"""A person can sort, search, switch and scroll in the report of an audit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from report_example import ABOUT, write_example

from nnunetv2_mlbseg.audit.report import bytes_per_case

pytestmark = pytest.mark.integration


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
    write_example(tmp_path / "report.html", 12)
    return opened(browser, tmp_path / "report.html")


def click(page, selector: str) -> None:
    from selenium.webdriver.common.by import By

    page.find_element(By.CSS_SELECTOR, selector).click()


def where(page) -> str:
    return page.execute_script("return document.getElementById('where').textContent")


def title(page) -> str:
    return page.execute_script("return document.getElementById('title').textContent")


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


def test_in_a_browser_nothing_is_wider_than_a_laptop(page):
    assert page.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")


def test_in_a_browser_eighty_full_cases_open_at_once(browser, tmp_path):
    path = tmp_path / "report.html"
    write_example(path, 80, fill=bytes_per_case(80))
    assert 25e6 < path.stat().st_size < 30e6
    page = opened(browser, path)
    took_ms = int(page.execute_script("return document.body.dataset.ready"))
    print(f"80 cases, {path.stat().st_size / 1e6:.1f} MB: {took_ms} ms")
    assert took_ms < 6000  # 2000 on an idle machine; tests share theirs
