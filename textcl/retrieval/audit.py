"""The page on which mined negatives are judged before anything is trained on them."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from markupsafe import Markup

from textcl.data.files import write_text
from textcl.figures import html as page
from textcl.figures import specification
from textcl.figures.cards import Card
from textcl.figures.mining import score_distributions
from textcl.figures.pages import render
from textcl.retrieval.choices import Choice, Tally
from textcl.retrieval.triplets import MARKS


def write_audit(path: Path, tally: Tally, model: str) -> None:
    """Write the page: scores, what each rule dropped, and a sample to read and mark; it opens without a network.

    Args:
        path: The HTML file.
        tally: What happened.
        model: Name of the model.

    Raises:
        UserError: If the extra `report` is not installed.
        RunError: If the disk fills up.
    """
    names = {"positive": "positives", "kept": "negatives kept", "dropped": "documents dropped"}
    chart = score_distributions(
        {name: tally.scores[key] for key, name in names.items()},
        "Similarity to the anchors",
        "Negatives that lie among the positives are suspect; dropped documents are those that a rule suspects",
    )
    spec = specification(chart)
    script = resources.files("textcl.retrieval").joinpath("templates/marks.js").read_text("utf-8")
    text = render(
        "textcl.retrieval",
        "audit.html.jinja",
        policy=Markup(page.policy(spec, [script])),
        scores=Card.of("scores", chart, "wide"),
        scripts=Markup(page.scripts(spec)),
        marking=Markup(script),
        sample=Markup(page.as_json(_marked_rows(tally.sample))),
        tally=tally,
        model=model,
        marks=MARKS,
    )
    write_text(path, text)


def _marked_rows(sample: list[Choice]) -> list[tuple[str, str]]:
    """Anchor and negative of every row that can be marked, in the order of the page."""
    return [(choice.anchor, each.text) for choice in sample for each in choice.negatives]
