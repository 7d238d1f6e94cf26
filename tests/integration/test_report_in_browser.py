"""A person reads, decides, and saves in the report of an audit, in a real browser."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from report_example import ABOUT, SOURCES, write_example

from nnunetv2_mlbseg.audit.report import bytes_per_case

pytestmark = pytest.mark.integration

NOTHING = "\N{EN DASH}"
NO_STORAGE = """Object.defineProperty(window, "localStorage", {
    get() { throw new DOMException("no", "SecurityError"); }
});"""


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium that logs all it asks the network for."""
    from selenium import webdriver

    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not (program and driver):
        pytest.skip("no Chromium with chromedriver on PATH: the report was not tried in a browser")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1366,768"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield found
    found.quit()


def screen(browser, width: int, height: int) -> None:
    """The page has just so many pixels."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def opened(browser, path: Path):
    browser.get(path.as_uri())
    until(browser, lambda: browser.execute_script("return document.body.dataset.ready"), 60)
    return browser


def until(page, condition, seconds: float = 20) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(page, seconds).until(lambda _: condition())


@pytest.fixture
def page(browser, tmp_path):
    """Twelve cases; afterwards the console has no error, and nothing was asked for but the file itself."""
    screen(browser, 1366, 768)
    browser.get_log("performance")
    write_example(tmp_path / "report.html", 12)
    opened(browser, tmp_path / "report.html").execute_script("localStorage.clear()")
    yield opened(browser, tmp_path / "report.html")
    check_quiet(browser)


def check_quiet(browser) -> None:
    messages = [json.loads(line["message"])["message"] for line in browser.get_log("performance")]
    asked = [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert [line for line in browser.get_log("browser") if line["level"] in ("SEVERE", "WARNING")] == []


def shown_cases(page) -> list[str]:
    return page.execute_script("return [...document.querySelectorAll('#cases tbody tr')].map(row => row.dataset.case)")


def view(page) -> str:
    return page.execute_script("return document.getElementById('view').toDataURL()")


def text(page, name: str) -> str:
    return page.execute_script("return document.getElementById(arguments[0]).textContent", name)


def decided(page, case: str) -> str:
    cell = "return document.querySelector(`tr[data-case=${arguments[0]}] .decided`).textContent"
    return page.execute_script(cell, case)


def press(page, *keys) -> None:
    from selenium.webdriver.common.by import By

    page.find_element(By.TAG_NAME, "body").send_keys(*keys)


def press_undo(page) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    ActionChains(page).key_down(Keys.CONTROL).send_keys("z").key_up(Keys.CONTROL).perform()


def click(page, selector: str) -> None:
    from selenium.webdriver.common.by import By

    page.find_element(By.CSS_SELECTOR, selector).click()


def go_to(page, case: str) -> None:
    click(page, f"tr[data-case={case}] button")
    until(page, lambda: text(page, "title").endswith(case) and text(page, "where"))


def test_in_a_browser_the_table_sorts_and_searches(page):
    from selenium.webdriver.common.by import By

    worst_first = shown_cases(page)
    assert len(worst_first) == 12
    assert text(page, "corrections") == ABOUT["corrections"]["sentence"]
    heads = page.execute_script("return [...document.querySelectorAll('#cases th')].map(head => head.textContent)")
    assert heads == ["#", "Case", "Score", "A", "B", "Gain", "p", "Prop.", "Decision"]
    click(page, "th[data-key=case] button")
    assert shown_cases(page) == sorted(worst_first)
    click(page, "th[data-key=case] button")
    assert shown_cases(page) == sorted(worst_first, reverse=True)
    assert page.find_element(By.CSS_SELECTOR, "th[data-key=case]").get_attribute("aria-sort") == "descending"
    click(page, "th[data-key=proposed] button")
    assert shown_cases(page)[0] == "case_001", "the one without a proposal"
    click(page, "th[data-key=score] button")
    assert shown_cases(page) == worst_first
    page.find_element(By.ID, "search").send_keys("CASE_007")
    assert shown_cases(page) == ["case_007"]


def test_in_a_browser_layers_and_structures_switch_and_slices_scroll(page):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    assert text(page, "where").startswith("Slice 2,")  # the one with the missing rows
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
    for number in (1, 2):
        click(page, f"#classes label:nth-child({number}) input")
        pictures.append(view(page))
    click(page, "#classes label:nth-child(1) input")
    assert len({*pictures[4:], view(page)}) == 5, "each structure alone, both, none"
    press(page, Keys.ARROW_DOWN)
    assert text(page, "where").startswith("Slice 3,")
    press(page, Keys.ARROW_UP, Keys.ARROW_UP)
    assert text(page, "where").startswith("Slice 1,")
    origin = ScrollOrigin.from_element(page.find_element(By.ID, "view"))
    ActionChains(page).scroll_from_origin(origin, 0, 100).perform()
    until(page, lambda: text(page, "where").startswith("Slice 2,"))
    press(page, Keys.ARROW_DOWN)
    before = view(page)
    click(page, "#findings button")
    assert text(page, "where").startswith("Slice 2,") and view(page) != before


def test_in_a_browser_a_case_opens_where_most_is_wrong_and_not_where_the_score_is_worst(browser, tmp_path):
    """Slice 4 has a few wrong pixels and nothing else, so its score is worst; slice 2 lacks far more."""
    path = tmp_path / "report.html"
    screen(browser, 1366, 768)
    write_example(path, 1)
    content = path.read_text(encoding="utf-8")
    data = json.loads(content.split('id="data">')[1].split("</script>")[0])
    data["cases"][0]["slice_scores"][4] = 0.01
    start, end = content.index('id="data">') + 10, content.index("</script>", content.index('id="data">'))
    path.write_text(content[:start] + json.dumps(data).replace("<", "\\u003c") + content[end:], encoding="utf-8")
    assert text(opened(browser, path), "where").startswith("Slice 2,")


def test_in_a_browser_decisions_are_made_undone_and_saved(page):
    from selenium.webdriver.common.keys import Keys

    first, second, third, *_ = shown_cases(page)
    click(page, "[data-decision=proposal]")
    assert (decided(page, first), text(page, "progress")) == ("accepted", "1 of 12 decided")
    press(page, Keys.ARROW_RIGHT)
    until(page, lambda: text(page, "title") == f"2. {second}")
    press(page, "r")
    press(page, "n")
    until(page, lambda: text(page, "title") == f"3. {third}")
    press(page, "l")
    assert [decided(page, case) for case in (first, second, third)] == ["accepted", "draw anew", "left"]
    press_undo(page)
    assert (decided(page, third), text(page, "progress")) == (NOTHING, "2 of 12 decided")
    click(page, "#undo")
    assert decided(page, second) == NOTHING
    press(page, "l")
    go_to(page, second)
    press(page, "r")
    page.execute_script(
        "HTMLAnchorElement.prototype.click = function () { window.saved = [this.download, this.href]; };"
    )
    click(page, "#save")
    name, link = page.execute_script("return window.saved.map(decodeURIComponent)")
    assert name == "SELECTION.json"
    expected = {"dataset": ABOUT["dataset"], "cases": {first: "proposal", second: "reannotated"}}
    assert json.loads(link[link.index(",") + 1 :]) == expected, "what is left does not stand in it"


def test_in_a_browser_a_case_without_a_proposal_has_none_to_accept(page):
    from selenium.webdriver.common.by import By

    go_to(page, "case_001")
    assert not page.find_element(By.CSS_SELECTOR, "[data-decision=proposal]").is_enabled()
    press(page, "a")
    assert decided(page, "case_001") == NOTHING and "no proposal" in text(page, "said")


def test_in_a_browser_all_proposals_up_to_a_p_are_accepted_and_taken_back_at_once(page):
    from selenium.webdriver.common.by import By

    go_to(page, "case_002")
    press(page, "l")
    box = page.find_element(By.ID, "all-p")
    box.clear()
    box.send_keys("0.2")
    assert text(page, "all-accept") == "Accept all 3 proposals", "0, 3 and 4: 1 has no proposal, 2 is decided"
    click(page, "#all-accept")
    names = [f"case_{number:03d}" for number in range(6)]
    assert [decided(page, name) for name in names] == ["accepted", NOTHING, "left", "accepted", "accepted", NOTHING]
    assert not page.find_element(By.ID, "all-accept").is_enabled()
    press_undo(page)
    assert [decided(page, name) for name in names] == [NOTHING, NOTHING, "left", NOTHING, NOTHING, NOTHING]


def test_in_a_browser_decisions_and_theme_survive_a_reload_and_belong_to_one_audit(page, browser, tmp_path):
    first = shown_cases(page)[0]
    press(page, "a")
    before = page.execute_script("return document.documentElement.dataset.theme")
    click(page, "#theme")
    opened(page, tmp_path / "report.html")
    assert (decided(page, first), text(page, "progress")) == ("accepted", "1 of 12 decided")
    assert page.execute_script("return document.documentElement.dataset.theme") != before
    click(page, "#theme")
    write_example(tmp_path / "other.html", 11)
    opened(page, tmp_path / "other.html")
    assert text(page, "progress") == "0 of 11 decided"


def test_in_a_browser_the_theme_is_that_of_the_system_at_first(browser, tmp_path):
    screen(browser, 1366, 768)
    write_example(tmp_path / "report.html", 1)
    colours = []
    for theme in ("dark", "light"):
        wish = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", wish)
        opened(browser, tmp_path / "report.html").execute_script("localStorage.removeItem('mlbseg-audit/theme')")
        opened(browser, tmp_path / "report.html")
        assert browser.execute_script("return document.documentElement.dataset.theme") == theme
        colours.append(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert len(set(colours)) == 2


def test_in_a_browser_that_refuses_storage_the_page_says_so_and_works(browser, tmp_path):
    from selenium.webdriver.common.by import By

    screen(browser, 1366, 768)
    write_example(tmp_path / "report.html", 2)
    script = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": NO_STORAGE})
    try:
        page = opened(browser, tmp_path / "report.html")
        assert "storage is refused" in page.find_element(By.ID, "storage").text
        press(page, "l")
        assert text(page, "progress") == "1 of 2 decided"
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)
    assert not opened(browser, tmp_path / "report.html").find_element(By.ID, "storage").is_displayed()


@pytest.mark.parametrize("volume", [False, True], ids=["one plane", "three planes"])
@pytest.mark.parametrize("size", [(1366, 768), (1366, 640), (1000, 800), (420, 900)], ids=str)
def test_in_a_browser_the_page_fits(browser, tmp_path, size, volume):
    screen(browser, *size)
    write_example(tmp_path / "report.html", 30, shape=(20, 30, 40), volume=volume, sources=True)
    page = opened(browser, tmp_path / "report.html")
    wide, high = page.execute_script("const e = document.documentElement; return [e.scrollWidth, e.scrollHeight]")
    assert wide <= size[0]
    if size[0] > 1150:
        assert high <= size[1], "a laptop needs no scrolling"
    smallest = page.execute_script("return Math.min(...['width', 'height'].map(k => parseInt(view.style[k])))")
    assert smallest >= (200 if size[0] > 420 else 180)


def test_in_a_browser_a_printed_page_is_light_and_has_the_picture(browser, tmp_path):
    screen(browser, 800, 1100)
    write_example(tmp_path / "report.html", 3)
    page = opened(browser, tmp_path / "report.html")
    try:
        wish = {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", wish)
        size = "const box = view.getBoundingClientRect(); return [box.width, box.height]"
        assert min(page.execute_script(size)) > 200
        assert page.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        page.execute_script("dispatchEvent(new Event('beforeprint'))")
        assert page.execute_script("return corrections.checkVisibility()")
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


def test_in_a_browser_three_planes_follow_each_other(browser, tmp_path):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By

    screen(browser, 1366, 768)
    write_example(tmp_path / "report.html", 2, shape=(20, 30, 40), volume=True)
    page = opened(browser, tmp_path / "report.html")
    assert text(page, "where").startswith("Slice 2, axial,")
    names = [one.text for one in page.find_elements(By.CSS_SELECTOR, ".small button")]
    assert names == ["coronal: enlarge", "sagittal: enlarge"]
    small = "return [...document.querySelectorAll('.small canvas')].map(one => one.toDataURL())"
    before = page.execute_script(small)
    ActionChains(page).move_to_element_with_offset(page.find_element(By.ID, "view"), -40, 30).click().perform()
    assert all(old != new for old, new in zip(before, page.execute_script(small), strict=True))
    click(page, "#small-1 button")
    assert text(page, "where").startswith("Coronal ")
    assert page.find_element(By.CSS_SELECTOR, "#small-1 button").text == "axial: enlarge"
    click(page, "#findings button")
    assert text(page, "where").startswith("Slice 2, axial,")


def test_in_a_browser_the_tables_of_sources_and_of_what_to_label_are_there_when_known(page, browser, tmp_path):
    from selenium.webdriver.common.by import By

    assert not page.find_element(By.CSS_SELECTOR, ".tabs").is_displayed()
    assert page.find_elements(By.CSS_SELECTOR, "th[data-key=source]") == []
    write_example(tmp_path / "sources.html", 12, sources=True)
    opened(page, tmp_path / "sources.html")
    cells = "return [...document.querySelectorAll(arguments[0])].map(cell => cell.textContent)"
    assert page.execute_script(cells, "[role=tab]") == ["Cases", "Where labels come from", "What to label next"]
    assert set(page.execute_script(cells, "#cases td:nth-child(3)")) == {"reader <1>", NOTHING}
    click(page, "[data-tab=sources]")
    assert page.find_element(By.ID, "sources").is_displayed()
    assert page.execute_script(cells, "#sources tbody tr:first-child td") == [
        "reader <1>", "7", "0.81", "0.77 to 0.85", "small; x",
    ]  # fmt: skip
    of_one_case = page.execute_script(cells, "#sources tbody tr:last-child td")
    assert of_one_case == ["atlas", "1", "0.60", NOTHING, NOTHING]
    click(page, "[data-tab=label]")
    assert page.execute_script(cells, "#to-label tbody tr:last-child td") == [
        "2", "scan_77", "+0.01", "0.80", SOURCES["to_label"][1]["why"],
    ]  # fmt: skip
    click(page, "#to-label button.case")
    until(page, lambda: text(page, "title").endswith("case_003"))
    facts = page.execute_script(cells, "#facts > *")
    assert facts[facts.index("Also heard") + 1] == "atlas, reader <3>", "further labels of the case"


def test_in_a_browser_eighty_full_cases_open_at_once(browser, tmp_path):
    path = tmp_path / "report.html"
    screen(browser, 1366, 768)
    write_example(path, 80, fill=bytes_per_case(80))
    assert 25e6 < path.stat().st_size < 30e6
    page = opened(browser, path)
    took_ms = int(page.execute_script("return document.body.dataset.ready"))
    print(f"80 cases, {path.stat().st_size / 1e6:.1f} MB: {took_ms} ms")
    assert took_ms < 6000  # 2000 on an idle machine; tests share theirs
