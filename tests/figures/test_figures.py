import json
import re
import sys
import xml.etree.ElementTree as ET

import pytest

from textcl.errors import UserError
from textcl.figures import html as page
from textcl.figures.charts import altair, specification, titled
from textcl.figures.files import save
from textcl.figures.theme import PAPER, config

NASTY = "</script><script>alert(\"1\")</script> & 'x' <!-- \u2028 é"


def chart():
    alt = altair()
    rows = [{"x": 0, "y": 1, "words": NASTY}, {"x": 1, "y": 3, "words": "b"}]
    drawn = alt.Chart(alt.Data(values=rows)).mark_line().encode(x="x:Q", y="y:Q", tooltip="words:N")
    return titled(drawn, f"Title {NASTY}", "Rises from 1 to 3", "a subtitle")


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_svg_holds_the_words_the_text_alternative_and_the_colours_of_its_theme(tmp_path, mode):
    save(chart(), tmp_path / "a.svg", mode=mode)
    text = (tmp_path / "a.svg").read_text()
    root = ET.fromstring(text)
    assert root[0].text == f"Title {NASTY}"
    assert root[1].text == "Rises from 1 to 3"
    assert root.attrib["role"] == "img"
    assert f"Title {NASTY}" in [
        drawn.text for drawn in root.iter("{http://www.w3.org/2000/svg}text")
    ]
    assert PAPER[mode] in text
    assert config(mode)["range"]["category"][0] in text


def test_png_is_twice_as_large_as_the_chart(tmp_path):
    save(chart().properties(width=200, height=100), tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    assert width > 400
    assert height > 200


def test_html_needs_no_network_and_cannot_be_broken_out_of(tmp_path):
    save(chart(), tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text()
    assert len(re.findall("<script", text)) == len(re.findall("</script>", text)) == 4
    assert not re.search(r'(src|href)="', text)
    assert "script-src 'sha256-" in text
    assert "default-src 'none'" in text
    data = re.search(r'id="figure">(.*?)</script>', text, re.DOTALL)
    assert json.loads(data[1])["title"]["text"] == f"Title {NASTY}"


def test_json_in_a_script_reads_back():
    value = {"a": NASTY, "b": [1.5, None, True]}
    text = page.as_json(value)
    assert json.loads(text) == value
    assert "<" not in text
    with pytest.raises(ValueError, match="not JSON compliant"):
        page.as_json(float("nan"))


def test_what_a_chart_configures_itself_stands_over_the_theme():
    spec = specification(chart().configure_line(strokeWidth=7))
    assert spec["config"]["line"] == {"strokeWidth": 7}
    assert spec["config"]["font"] == config()["font"]
    assert spec["config"]["view"] == config()["view"]


def test_an_unknown_ending_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"cannot write a figure as \.gif .*\.png, \.svg or \.html"):
        save(chart(), tmp_path / "a.gif")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["altair", "vl_convert"])
def test_a_missing_extra_is_one_sentence(monkeypatch, tmp_path, name):
    drawn = chart()
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=r"pip install 'textcl-train\[report\]'"):
        altair() if name == "altair" else save(drawn, tmp_path / "a.svg")


def test_series_can_be_told_apart_on_their_paper():
    """Contrast of at least 2 with the paper for large marks, and no colour twice."""
    for mode in ("light", "dark"):
        series = config(mode)["range"]["category"]
        assert len(set(series)) == len(series) == 8
        assert min(contrast(colour, PAPER[mode]) for colour in series) > 2


def contrast(one, other):
    """Of WCAG 2: (lighter + 0.05) / (darker + 0.05)."""

    def luminance(colour):
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        parts = [x / 12.92 if x <= 0.03928 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)
