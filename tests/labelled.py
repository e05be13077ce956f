"""Labelled sentences made of a few words, which a tiny model learns in seconds."""

from __future__ import annotations

import json
import random

TOPICS = {
    "food": ["eat", "food", "water", "good"],
    "sport": ["ball", "field", "run", "play"],
    "town": ["street", "city", "man", "woman"],
}
_FILLING = ["a", "the", "red", "blue", "green", "new", "old", "two"]


def labelled(rows=60, seed=0, several=False):
    """Rows of text and label, or of text and labels: of each topic there are two words in its text."""
    draw = random.Random(seed)
    made = []
    for number in range(rows):
        topics = draw.sample(sorted(TOPICS), draw.choice((0, 1, 2)) if several else 1)
        words = [word for topic in topics for word in draw.sample(TOPICS[topic], 2)]
        words += draw.sample(_FILLING, 3)
        draw.shuffle(words)
        text = " ".join([*words, "abcdefghij"[number % 10]])
        made.append({"text": text, **({"labels": topics} if several else {"label": topics[0]})})
    return made


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)
