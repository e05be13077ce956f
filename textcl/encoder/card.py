"""The model card: what was trained on what, how it scored, and how to use it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import cast

from transformers import PretrainedConfig

from textcl.encoder.folder import Description, known_elsewhere, library_versions
from textcl.encoder.static import UNCUT

_TITLES = {"recipe": "Recipe", "data": "Data", "seed": "Seed", "command": "Command"}


def render_card(
    description: Description, config: PretrainedConfig, dimension: int, card: Mapping[str, object]
) -> str:
    """The README.md of an encoder's folder.

    Args:
        description: Pooling, normalisation and prompts.
        config: Of the backbone.
        dimension: Length of a vector.
        card: What is known of the training. "language", "license", "base_model" and "datasets" go into the front
            matter; "scores" is a mapping, or a list of mappings with the same keys (task, score, protocol, …);
            "settings" is a mapping; "command" a line; everything else is listed as it is.
    """
    what = (
        f"A sentence encoder ({kind_of(config)}) that maps a text to a vector of "
        f"{dimension} numbers, trained with textcl."
    )
    front = front_matter(card, "sentence-similarity", ["sentence-similarity"])
    return render_page(
        front, description, what, [_facts(description, dimension), *_usage(description)], card
    )


def render_page(
    front: str,
    description: Description,
    what: str,
    parts: Sequence[str],
    card: Mapping[str, object],
) -> str:
    """The whole card: front matter, what the model is, the given parts, and how it was made."""
    parts = [front, f"# {card.get('name') or description.transformer.name}", what, *parts]
    if card.get("scores"):
        scores = cast("Mapping[str, object] | Sequence[Mapping[str, object]]", card["scores"])
        parts += ["## Scores", _table(scores)]
    facts = {
        key: value for key, value in card.items() if key not in _ELSEWHERE and value is not None
    }
    if facts:
        parts += [
            "## Training",
            "\n".join(f"- {_title(key)}: {flat(v)}" for key, v in facts.items()),
        ]
    if card.get("command"):
        parts.append(f"```sh\n{card['command']}\n```")
    if card.get("settings"):
        settings = cast("Mapping[str, object]", card["settings"])
        rows = [{"setting": key, "value": value} for key, value in settings.items()]
        parts += ["## Settings", _table(rows)]
    used = [f"- {name.replace('_', '-')} {version}" for name, version in library_versions().items()]
    parts += ["## Versions", "\n".join(used)]
    return "\n\n".join(parts) + "\n"


_FRONT = ("language", "license", "base_model", "datasets")
_ELSEWHERE = {*_FRONT, "name", "scores", "settings", "command"}


def front_matter(card: Mapping[str, object], task: str, tags: Sequence[str]) -> str:
    """The metadata of a card that the hub reads."""
    head: dict[str, object] = {key: card[key] for key in _FRONT if card.get(key)}
    head |= {
        "library_name": "sentence-transformers",
        "pipeline_tag": task,
        "tags": ["sentence-transformers", *tags, "feature-extraction", "textcl"],
    }
    # JSON values are YAML values, and quoting keeps odd names whole.
    return "\n".join(
        ["---", *(f"{k}: {json.dumps(v, ensure_ascii=False)}" for k, v in head.items()), "---"]
    )


def kind_of(config: PretrainedConfig) -> str:
    """Architecture and layers of a backbone, in words."""
    layers = config.num_hidden_layers
    return f"{config.model_type}, {layers} layers" if layers else "a table of token vectors"


def length_of(description: Description) -> str:
    """The longest text of a model, in words."""
    uncut = description.max_length is None or description.max_length >= UNCUT
    return "any" if uncut else f"{description.max_length} tokens"


def _facts(description: Description, dimension: int) -> str:
    facts = {
        "Pooling": f"`{description.pooling}`",
        "Dimensions": dimension,
        "Normalised": "yes" if description.normalize else "no",
        "Maximum length": length_of(description),
        **{f"Prompt `{name}`": f"`{text}`" for name, text in description.prompts.items() if text},
    }
    return "\n".join(f"- {key}: {value}" for key, value in facts.items())


def _usage(description: Description) -> list[str]:
    parts = [
        "## Use",
        '```python\nfrom textcl import Encoder\n\nencoder = Encoder.from_pretrained("path/to/this/folder")\n'
        'vectors = encoder.encode(["A first sentence.", "A second one."])\n```',
    ]
    if known_elsewhere(description.pooling):
        parts.append(
            "The folder is also one of sentence-transformers, with the same vectors:\n\n"
            "```python\nfrom sentence_transformers import SentenceTransformer\n\n"
            'vectors = SentenceTransformer("path/to/this/folder").encode(["A first sentence."])\n```'
        )
    else:
        parts.append(
            f"**Only textcl gives these vectors.** sentence-transformers has no pooling `{description.pooling}` "
            "and stops with an error when it loads this folder."
        )
    return parts


def _table(rows: Mapping[str, object] | Sequence[Mapping[str, object]]) -> str:
    if isinstance(rows, Mapping):
        rows = [{"task": task, "score": score} for task, score in rows.items()]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(flat(row.get(key, "")) for key in columns) + " |" for row in rows]
    return "\n".join(lines)


def _title(key: str) -> str:
    return _TITLES.get(key, key.replace("_", " ").capitalize())


def flat(value: object) -> str:
    """One line of Markdown."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {flat(inner)}" for key, inner in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(flat(inner) for inner in value)  # pyright: ignore[reportUnknownArgumentType]
    return str(value).replace("|", "\\|").replace("\n", " ")
