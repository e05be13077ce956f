"""What an estimator of scikit-learn leaves: a note beside its classifier's folder, and its state in a pickle."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

from textcl.classifier.classifier import Classifier
from textcl.classifier.columns import ColumnsClassifier
from textcl.data.json_files import JsonObject
from textcl.data.json_text import to_json
from textcl.errors import UserError

ESTIMATOR_FILE = "estimator.json"


def estimator_note(parameters: Mapping[str, object], classes: object) -> str:
    """The parameters of an estimator and its labels as they came, in JSON.

    Raises:
        UserError: If one of them has no form in JSON, such as bytes.
    """
    try:
        return to_json({"parameters": parameters, "classes": classes})
    except TypeError as error:
        raise UserError(
            f"a label or a parameter would not come back as it came ({error}): pickle the estimator, or write its "
            "classes by their names with classifier_.save_pretrained(folder)"
        ) from error


def read_estimator_note(folder: Path) -> tuple[JsonObject | None, dict[str, object]]:
    """The note in a folder, None where there is none, and the parameters that it holds."""
    note = JsonObject.read_if_present(folder / ESTIMATOR_FILE)
    return note, (note.get("parameters", dict[str, object]) or {}) if note else {}


def state_on_cpu(state: dict[str, object]) -> dict[str, object]:
    """The state of an estimator with its weights in main memory, so that processes without a GPU can read it."""
    classifier = state.get("classifier_")
    on_device = isinstance(classifier, Classifier | ColumnsClassifier)
    if not on_device or classifier.device.type == "cpu":
        return state
    return {**state, "classifier_": copy.deepcopy(classifier).to("cpu")}
