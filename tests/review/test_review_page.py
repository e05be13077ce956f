"""The page of a review in a browser."""

from __future__ import annotations

import pytest
from browsing import MARKS

from textcl.review.alike import Alike, conflicts
from textcl.review.review import JudgedRow, Near, Review
from textcl.review.write import write_review

NASTY = "<script>document.title = 'owned'</script><img src=x onerror=\"document.title='owned'\">"


@pytest.fixture
def page(tmp_path):
    rows = [
        JudgedRow(n + 1, f"{NASTY} {n}" + " long" * 80, NASTY, "b", 0.1, 0.8, n < 3)
        for n in range(6)
    ]
    near = [[Near(2, NASTY, "b", 0.5), Near(3, "word" * 60, "a", 0.4)] for _ in rows]
    alike = [Alike("a" * 70, "b" * 70, 200, 60, 0.6, 0.04)]
    review = Review(rows, near, alike, conflicts([NASTY] * 2, [NASTY, "b"]), 0.5, 2, 1)
    write_review(review, tmp_path / "look", data=NASTY, model="m")
    return tmp_path / "look" / "review.html"


@pytest.mark.browser
class TestInABrowser:
    pytestmark = MARKS

    def test_it_opens_alone_runs_nothing_and_fits_the_window(self, page, browser):
        for width in (1280, 390):
            browser.open(page, width=width)
            assert browser.run("return document.title") == f"Review of {NASTY}"
            assert browser.run("return document.querySelectorAll('article').length") == 6
            assert browser.run("return document.querySelectorAll('article.suspected').length") == 3
            assert browser.run("return document.querySelectorAll('img, main script').length") == 0
            over = "return document.documentElement.scrollWidth - window.innerWidth"
            assert browser.run(over) <= 0, width
        assert [
            url for url in browser.asked_for() if not url.startswith(("file:", "chrome", "data:"))
        ] == []
        assert browser.said() == []

    def test_its_links_lead_to_its_sections(self, page, browser):
        browser.open(page)
        script = "return [...document.querySelectorAll('nav a')].map(a => a.getAttribute('href'))"
        for target in browser.run(script):
            assert browser.run("return !!document.querySelector(arguments[0])", target), target
