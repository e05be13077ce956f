"""A real browser opens reports of real runs: nothing fails, nothing leaves the page, and no text of the user acts."""

import pytest
from browsing import MARKS, webdriver
from report_runs import NASTY, classifier_run, encoder_run

from textcl.report.write import ReportOptions, write_report

pytestmark = MARKS

TOOLTIP = "return document.querySelector('#vg-tooltip-element.visible')?.innerText ?? ''"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Reports of an encoder and of a classifier, by name."""
    folder = tmp_path_factory.mktemp("reports")
    for name in ("encoder", "classifier"):
        (folder / name).mkdir()
    made = {
        "encoder": encoder_run(folder / "encoder"),
        "classifier": classifier_run(folder / "classifier"),
    }
    for name, run in made.items():
        write_report([run], folder / f"{name}.html", ReportOptions(maps=("pca",)))
    return {name: folder / f"{name}.html" for name in made}


@pytest.mark.parametrize("kind", ["encoder", "classifier"])
def test_a_report_opens_whole_and_stays_on_its_page(browser, pages, kind):
    browser.asked_for()
    browser.said()
    page = pages[kind]
    sizes = {}
    for width, scheme in ((1280, "light"), (390, "dark")):
        browser.open(page, width, scheme)
        figures = browser.run(
            """return [...document.querySelectorAll('figure')].map(figure => {
                const drawn = figure.querySelector('svg.marks, canvas.marks'), box = drawn?.getBoundingClientRect();
                const marks = figure.querySelectorAll(
                    '.mark-line path, .mark-area path, .mark-symbol path, .mark-rect path');
                const words = figure.querySelector('[role="graphics-document"]')?.getAttribute('aria-label') ?? '';
                return {name: figure.id, title: figure.querySelector('h3').innerText, words, marks: marks.length,
                        width: box?.width ?? 0, height: box?.height ?? 0, room: figure.clientWidth};
            })"""
        )
        assert len(figures) >= 15
        for figure in figures:
            assert figure["title"], figure
            assert len(figure["words"]) > 20, figure
            assert figure["marks"] > 0, figure
            assert 100 < figure["width"] <= figure["room"], figure
            assert figure["height"] > 100, figure
        assert browser.run("return document.documentElement.scrollWidth") <= width
        sizes[width] = {figure["name"]: figure["width"] for figure in figures}
    assert sizes[390]["loss"] < 390
    assert sizes[1280].keys() == sizes[390].keys()
    assert browser.said() == []
    assert {url for url in browser.asked_for() if not url.startswith(("data:", "blob:"))} == {
        page.as_uri()
    }
    # the texts that try to act stand on the page as they are
    assert NASTY in browser.run("return document.body.textContent")
    assert browser.run("return document.title").startswith("Report of ")
    assert browser.run("return document.querySelectorAll('main img, main i, main b b').length") == 0


def test_pointing_at_a_text_of_the_map_shows_it(browser, pages):
    browser.open(pages["encoder"])
    point = browser.run(
        """return [...document.querySelectorAll('#pca-after-training .mark-symbol path')]
            .find(path => path.__data__.datum.text === arguments[0])""",
        NASTY,
    )
    browser.hover(point)
    assert NASTY in browser.wait(TOOLTIP)
    assert browser.run("return document.title").startswith("Report of ")


def test_pointing_at_a_curve_shows_its_value(browser, pages):
    browser.open(pages["encoder"])
    point = browser.run("return document.querySelector('#loss .mark-symbol path')")
    browser.hover(point)
    shown = browser.wait(TOOLTIP)
    assert "update" in shown
    assert "loss" in shown


def test_a_click_on_a_label_fades_the_others(browser, pages):
    browser.open(pages["classifier"])
    count = """return new Set([...document.querySelectorAll('#pca-after-training .mark-symbol.role-mark path')]
        .map(path => path.getAttribute('opacity'))).size"""
    assert browser.run(count) == 1
    label = browser.run(
        "return document.querySelector('#pca-after-training .role-legend-label text')"
    )
    browser.run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", label)
    webdriver.ActionChains(browser.driver, duration=20).click(label).perform()
    browser.wait(f"return ({count.replace('return ', '')}) === 2")


def test_figures_follow_light_and_dark(browser, pages):
    browser.open(pages["encoder"])
    stroke = "return document.querySelector('#loss .mark-line path').getAttribute('stroke')"
    light = browser.run(stroke)
    browser.driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": "dark"}]},
    )
    browser.wait(f"return ({stroke.replace('return ', '')}) !== '{light}'")
    assert browser.run("return document.querySelectorAll('#loss svg.marks').length") == 1


def test_even_markup_that_slipped_in_could_not_act(browser, pages):
    """The page's policy: no script but its own, and no connection."""
    browser.open(pages["encoder"])
    browser.said()
    browser.run(
        """document.body.insertAdjacentHTML('beforeend', '<img src=x: onerror="document.title=1">');
        const script = document.createElement('script');
        script.textContent = 'document.title = "broken"';
        document.body.append(script);
        fetch('https://textcl.invalid/').catch(() => {});"""
    )
    refused = browser.wait("return true") and browser.said()
    assert browser.run("return document.title").startswith("Report of ")
    assert any("Content Security Policy" in message for message in refused)
    assert not any(url.startswith("https:") for url in browser.asked_for())
