import json

import pytest

from textcl.evaluation.published import published_rows
from textcl.evaluation.tasks import suites
from textcl.resources import published_path


def test_every_published_row_has_an_id_of_its_own_a_protocol_and_a_source():
    rows = json.loads(published_path().read_text(encoding="utf-8"))
    assert len(rows) == len({row["id"] for row in rows}) == 286
    for row in rows:
        assert row["protocol"]
        assert row["source"]
        assert row["scale"] in (1, 100)
        assert row["scores"] or row["avg"]


def test_simcse_rows_of_the_paper_are_found_with_their_values():
    rows = published_rows(protocol="senteval-all", match="simcse")
    (row,) = [row for row in rows if row.id == "simcse-bert-base-uncased.unsup.senteval-all"]
    assert list(row.scores.values()) == [68.4, 82.41, 74.38, 80.91, 78.56, 76.85, 72.23]
    assert row.average == 76.25
    assert row.source == "SimCSE paper arXiv:2104.08821, Table 5"


def test_match_is_on_word_starts_whatever_the_case():
    rows = published_rows(protocol="senteval-all", match="BERT-base")
    assert len(rows) == 57
    assert {row.backbone for row in rows} == {"bert-base-uncased"}
    unsupervised = published_rows(protocol="senteval-all", match="bert-base unsup simcse")
    assert 0 < len(unsupervised) < len(rows)
    assert {row.supervision for row in unsupervised} == {"unsupervised"}


def test_only_rows_of_the_protocol_come_best_first():
    rows = published_rows(protocol="senteval-wmean")
    assert len(rows) == 9
    assert {row.protocol for row in rows} == {"senteval-wmean"}
    averages = [row.average for row in rows]
    assert averages == sorted(averages, reverse=True)
    assert published_rows(protocol="own-pairs-all") == []


def test_fractions_are_shown_as_percentages():
    rows = published_rows(protocol="mirror-bert-eval", match="bert-base")
    values = [value for row in rows for value in row.scores.values()]
    assert min(values) > 1.5
    assert max(values) < 100
    assert values == [round(value, 4) for value in values]


def test_average_is_left_out_unless_the_tasks_are_the_whole_suite():
    whole = published_rows(protocol="senteval-all", match="bert-base", tasks=suites()["sts"])
    part = published_rows(protocol="senteval-all", match="bert-base", tasks=["STS12", "SICK-R"])
    assert len(whole) == 57
    assert all(row.average for row in whole)
    assert len(part) == len([row for row in whole if row.scores])
    assert {row.average for row in part} == {None}
    assert all(set(row.scores) <= {"STS12", "SICK-R"} for row in part)


def test_dev_rows_stand_beside_the_dev_split():
    rows = published_rows(protocol="stsb-dev", tasks=["STSBenchmark-dev"])
    assert len(rows) == 19
    assert rows[0].scores["STSBenchmark-dev"] == pytest.approx(86.2)


def test_rows_that_call_a_task_by_another_name_stand_beside_it():
    rows = published_rows(protocol="multi-simlex", match="word", tasks=["MultiSimLex-en"])
    assert [row.scores for row in rows] == [{"MultiSimLex-en": 55.6}]
    everything = published_rows(protocol="multi-simlex", match="monolingual mirror")
    assert {"en", "ru"} < set(everything[0].scores)


def test_rows_of_classifiers_stand_beside_the_task_with_their_spread():
    rows = published_rows(protocol="lcl-accuracy", metric="accuracy", tasks=["ISEAR"])
    best = rows[0]
    assert (best.model, best.backbone, best.seeds) == ("LCL", "electra-base", 5)
    assert (best.scores, best.spread) == ({"ISEAR": 72.4}, {"ISEAR": 0.2})
    assert all(row.scores["ISEAR"] <= 72.4 for row in rows)
    assert published_rows(protocol="lcl-accuracy", tasks=["ISEAR"]) == []
    weighted = published_rows(protocol="lcl-weighted-f1", metric="weighted-f1", tasks=["EmoInt"])
    assert weighted[0].scores == {"EmoInt": 86.6}
    hard = "EmpatheticDialogues/hard-d"
    subsets = published_rows(
        protocol="empathetic-class-subsets", metric="accuracy", match="lcl-ed", tasks=[hard]
    )
    assert [row.scores for row in subsets] == [{hard: 69.5}]
