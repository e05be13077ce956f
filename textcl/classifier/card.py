"""Model cards of classifiers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from transformers import PretrainedConfig

from textcl.encoder.card import flat, front_matter, kind_of, length_of, render_page
from textcl.encoder.folder import Description, known_elsewhere


def render_classifier_card(
    description: Description,
    config: PretrainedConfig,
    classes: Sequence[str],
    multi_label: bool,
    card: Mapping[str, object],
    *,
    apart: str,
) -> str:
    """The README.md of a classifier's folder.

    Args:
        description: Pooling and maximum length of its encoder.
        config: Of the backbone.
        classes: Their names.
        multi_label: Whether a text has any number of them.
        card: As for `render_card`.
        apart: Why transformers alone cannot compute the logits; empty where it can.
    """
    each = "any number" if multi_label else "one"
    what = (
        f"A text classifier ({kind_of(config)}) that gives a text {each} of "
        f"{len(classes)} classes, trained with textcl."
    )
    elsewhere = (
        f"`AutoModelForSequenceClassification` of transformers cannot give these logits: {apart}."
        if apart
        else "`AutoModelForSequenceClassification` of transformers loads the folder too, with equal logits (a fitted "
        "temperature and thresholds are known to textcl alone)."
    )
    facts = {"Classes": _listed(classes)}
    return _page(description, what, facts, "Classifier", elsewhere, card)


def render_columns_card(
    description: Description,
    config: PretrainedConfig,
    classes: Mapping[str, Sequence[str]],
    card: Mapping[str, object],
) -> str:
    """The README.md of the folder of a classifier of several label columns.

    Args:
        description: Pooling and maximum length of its encoder.
        config: Of the backbone.
        classes: Their names by column.
        card: As for `render_card`.
    """
    what = (
        f"A text classifier ({kind_of(config)}) of {len(classes)} label columns: it gives a text one class of each, "
        "trained with textcl."
    )
    elsewhere = (
        "`AutoModelForSequenceClassification` of transformers cannot give these logits: its classifiers have one head, "
        "this one has several."
    )
    facts = {f"Classes of {flat(name)}": _listed(names) for name, names in classes.items()}
    return _page(description, what, facts, "ColumnsClassifier", elsewhere, card)


def _listed(classes: Sequence[str]) -> str:
    return ", ".join(flat(name) for name in classes)


def _page(
    description: Description,
    what: str,
    classes: Mapping[str, str],
    kind: str,
    elsewhere: str,
    card: Mapping[str, object],
) -> str:
    """The page of a classifier: facts, use in Python by the class `kind`, and use elsewhere."""
    facts = {
        **classes,
        "Pooling": f"`{description.pooling}`",
        "Maximum length": length_of(description),
    }
    use = [
        "\n".join(f"- {key}: {value}" for key, value in facts.items()),
        "## Use",
        f"```python\nfrom textcl import {kind}\n\n"
        f'classifier = {kind}.from_pretrained("path/to/this/folder")\n'
        'labels = classifier.predict(["A first text.", "A second one."])\n'
        'probabilities = classifier.predict_proba(["A first text.", "A second one."])\n```',
        elsewhere,
    ]
    if known_elsewhere(description.pooling):
        use.append(
            '`SentenceTransformer("path/to/this/folder")` of sentence-transformers loads its encoder alone.'
        )
    front = front_matter(card, "text-classification", ["text-classification"])
    return render_page(front, description, what, use, card)
