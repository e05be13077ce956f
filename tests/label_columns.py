"""Labelled sentences with two label columns, of which some rows lack one."""

from __future__ import annotations

import random

from labelled import labelled

COLUMNS = {"label": "topic,tone"}


def with_tones(rows=60, seed=0, complete=False):
    """Rows of text, topic and tone, the tone a word of the text; every 7th lacks its topic, every 5th its tone."""
    draw = random.Random(seed)
    made = []
    for number, row in enumerate(labelled(rows, seed)):
        tone = draw.choice(["happy", "sad"])
        topic = row["label"] if complete or number % 7 else None
        missing = number % 5 == 0 and number % 7 and not complete
        made.append(
            {"text": f"{row['text']} {tone}", "topic": topic, "tone": None if missing else tone}
        )
    return made
