"""Model card of a classifier."""

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
    facts = {
        "Classes": ", ".join(flat(name) for name in classes),
        "Pooling": f"`{description.pooling}`",
        "Maximum length": length_of(description),
    }
    use = [
        "\n".join(f"- {key}: {value}" for key, value in facts.items()),
        "## Use",
        "```python\nfrom textcl import Classifier\n\n"
        'classifier = Classifier.from_pretrained("path/to/this/folder")\n'
        'labels = classifier.predict(["A first text.", "A second one."])\n'
        'probabilities = classifier.predict_proba(["A first text.", "A second one."])\n```',
    ]
    use.append(
        f"`AutoModelForSequenceClassification` of transformers cannot give these logits: {apart}."
        if apart
        else "`AutoModelForSequenceClassification` of transformers loads the folder too, with equal logits (a fitted "
        "temperature and thresholds are known to textcl alone)."
    )
    if known_elsewhere(description.pooling):
        use.append(
            '`SentenceTransformer("path/to/this/folder")` of sentence-transformers loads its encoder alone.'
        )
    front = front_matter(card, "text-classification", ["text-classification"])
    return render_page(front, description, what, use, card)
