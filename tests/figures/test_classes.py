import json

import numpy as np
import pytest

from textcl.evaluation.classification import calibration_curve
from textcl.figures.charts import specification
from textcl.figures.classes import calibration_figure, confusion_figure

pytest.importorskip("altair")
CONFUSED = np.array([[50, 2, 0, 1], [1, 40, 0, 9], [0, 0, 10, 0], [0, 6, 3, 20]])


def test_most_confused_classes_come_first_and_words_tell_them():
    spec = specification(confusion_figure(CONFUSED, ("a", "b", "c", "d"), "T", "S"))
    assert set(spec["layer"][0]["encoding"]["x"]["sort"][:2]) == {"b", "d"}
    assert spec["layer"][0]["encoding"]["y"]["sort"] == spec["layer"][0]["encoding"]["x"]["sort"]
    assert "9 texts of b taken for d (18%)" in spec["description"]
    assert spec["title"] == {"text": "T", "subtitle": "S"}


def test_many_classes_have_no_room_for_numbers():
    many = np.eye(20, dtype=int) * 5 + 1
    spec = specification(confusion_figure(many, [f"c{i}" for i in range(20)], "T"))
    assert '"labelOverlap": false' in json.dumps(spec), "every class has its name"
    assert "text" not in {layer["mark"]["type"] for layer in spec["layer"]}


def test_no_mistakes_and_no_rows_can_be_drawn():
    for table in (np.eye(3, dtype=int), np.zeros((3, 3), dtype=int)):
        assert "Most confused: none" in confusion_figure(table, "abc", "T").to_dict()["description"]


def test_points_of_a_calibration_curve_are_its_bins_that_are_not_empty():
    rng = np.random.default_rng(0)
    p = rng.random(500) / 2
    curve = calibration_curve(p, rng.random(500) < p, 10)
    spec = specification(calibration_figure({"as trained": curve}, "T"))
    points = spec["layer"][1]["data"]["values"] if "data" in spec["layer"][1] else None
    points = points or spec["data"]["values"]
    assert len(points) == 5
    assert sum(point["predictions"] for point in points) == 500
    assert f"as trained: {100 * curve.error:.1f}" in spec["description"]
