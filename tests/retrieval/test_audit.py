"""The page on which mined negatives are judged, and the marks that it saves."""

import json
import time
from array import array

import pytest
from browsing import MARKS

from textcl.retrieval.audit import write_audit
from textcl.retrieval.choices import Choice, Scored, Tally
from textcl.retrieval.triplets import Marks

NASTY = "</script><script>document.title = 'owned'</script>,\n\"quoted\" ünï"


def scored(text, score):
    return Scored("id", text, score, score)


@pytest.fixture
def page(tmp_path):
    pytest.importorskip("altair")
    tally = Tally(2, sample_size=3)
    for number in range(5):
        negatives = [scored(f"{NASTY} {number}", 0.4), scored(f"other {number}", 0.3)]
        dropped = [(0.8, ["above 95 % of the positive's score"])]
        tally.count(Choice(f"{NASTY} anchor {number}", [scored("yes", 0.9)], negatives, dropped))
    tally.count(Choice("short", [scored("yes", 0.9)], [], []))
    path = tmp_path / "audit.html"
    write_audit(path, tally, "<model>")
    return path


def test_the_page_holds_scores_rules_and_a_sample_and_escapes_them(page):
    text = page.read_text()
    assert "owned'</script>" not in text
    assert "&lt;model&gt;" in text
    assert text.count("<article ") == 3
    assert "1 of 6 anchors have too few" in text
    assert '<td class="number">33.3 %</td>' in text
    assert "script-src 'sha256-" in text
    assert "http://" not in text.split('id="vega"')[0].replace("http://www.w3.org", "")


def test_the_sample_is_drawn_from_all_anchors_alike():
    seen = array("i", [0] * 20)
    for seed in range(200):
        tally = Tally(0, sample_size=5, seed=seed)
        for number in range(20):
            tally.count(Choice(str(number), [], [], []))
        for choice in tally.sample:
            seen[int(choice.anchor)] += 1
    assert min(seen) > 25
    assert max(seen) < 80


@pytest.mark.browser
class TestInABrowser:
    pytestmark = MARKS

    def test_marks_are_saved_and_read_again(self, page, browser, tmp_path):
        downloads = {"behavior": "allow", "downloadPath": str(tmp_path)}
        browser.driver.execute_cdp_cmd("Page.setDownloadBehavior", downloads)
        browser.open(page)
        assert browser.run("return document.title") == "Mined negatives"
        for row, mark in ((0, "relevant"), (3, "irrelevant")):
            browser.run(
                "document.querySelectorAll('select')[arguments[0]].value = arguments[1]",
                row,
                mark,
            )
        save = browser.driver.find_element("id", "save")
        browser.hover(save)  # a click alone scrolls smoothly, and misses
        save.click()
        end = time.monotonic() + 10
        while not (tmp_path / "marks.csv").exists():
            assert time.monotonic() < end
            time.sleep(0.05)
        sample = json.loads(browser.run("return document.getElementById('sample').textContent"))
        assert not browser.said()
        marks = Marks.read(tmp_path / "marks.csv")
        assert marks.irrelevant == 1
        assert sum(map(len, marks.relevant.values())) == 1
        assert len(sample) == 6
