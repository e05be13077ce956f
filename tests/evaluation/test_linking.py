import numpy as np
import pytest

from textcl.errors import UserError
from textcl.evaluation.linking import Query, concept_ids, linking_accuracy, nearest_names


def test_names_are_ranked_by_dot_product_and_ties_by_place(monkeypatch):
    names = np.array([[1.0, 0.0], [3.0, 0.0], [1.0, 0.0]])
    mentions = np.array([[1.0, 0.0], [-1.0, 0.0]])
    wanted = [[1, 0], [0, 2]]
    assert nearest_names(mentions, names, 2).tolist() == wanted
    monkeypatch.setattr("textcl.evaluation.linking._TABLE", 3)
    assert nearest_names(mentions, names, 2).tolist() == wanted
    assert nearest_names(mentions, names, 9).shape == (2, 3)


def test_every_part_of_a_composite_mention_must_hit():
    concepts = [concept_ids("A"), concept_ids("B|C"), concept_ids("D")]
    queries = [Query([[0, 2], [2, 1]], concept_ids("A+C")), Query([[2]], concept_ids("D"))]
    assert linking_accuracy(queries, concepts, 1) == 0.5
    assert linking_accuracy(queries, concepts, 2) == 1.0


def test_no_mention_and_broken_vectors_are_refused():
    with pytest.raises(UserError, match="no mention"):
        linking_accuracy([], [], 1)
    with pytest.raises(UserError, match="not finite"):
        nearest_names(np.array([[np.nan]]), np.ones((2, 1)), 1)
