"""Made-up rows of the roles that a recipe asks for."""

from __future__ import annotations

import random

WORDS = "man woman dog cat child people play run eat guitar ball field street city food".split()  # noqa: SIM905
VALUES = {  # every other role is a text
    "score": lambda draw: round(draw.uniform(0, 5), 1),
    "label": lambda draw: draw.choice(["animals", "food"]),
    "scores": lambda draw: [round(draw.uniform(0, 5), 1) for _ in range(2)],
    "vector": lambda draw: [round(draw.gauss(0, 1), 2) for _ in range(6)],
}


def recipe_rows(roles, count=24):
    """Rows by role, the same every time; of roles that name alternatives, such as "label|labels", the first."""
    draw = random.Random(0)
    first = [role.split("|")[0] for role in roles]
    return [{role: VALUES.get(role, _sentence)(draw) for role in first} for _ in range(count)]


def _sentence(draw):
    return " ".join(draw.choices(WORDS, k=draw.randint(2, 9)))
