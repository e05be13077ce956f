"""`textcl index`, `search` and `neighbours` as a user types them."""

import json
import shutil
import sys

import pytest
from families import tiny_model_dir

import textcl.cli

TEXTS = ["a man plays guitar", "a dog runs in the field", "two children eat red food", "cold water"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    tiny_model_dir(folder)
    rows = [json.dumps({"_id": f"d{n}", "title": "", "text": text}) for n, text in enumerate(TEXTS)]
    (folder / "corpus.jsonl").write_text("\n".join(rows) + "\n")
    (folder / "queries.txt").write_text("a cat runs\nred water\n")
    return folder


@pytest.fixture
def textcl_in(monkeypatch, capsys, place):
    monkeypatch.chdir(place)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["textcl", *map(str, arguments)])
        try:
            textcl.cli.main()
            code = 0
        except SystemExit as stopped:
            code = stopped.code or 0
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_a_corpus_is_indexed_searched_and_changed(textcl_in, place):
    code, _, err = textcl_in("index", "corpus.jsonl", "-m", "bert", "-o", "index")
    assert code == 0, err
    assert "index: 4 documents, 32 dimensions, float32" in err
    code, out, _ = textcl_in("search", "index", "a dog runs in the field", "-k", 2)
    assert code == 0
    assert out.split("\n")[4].split()[2:] == ["d1", "a", "dog", "runs", "in", "the", "field"]
    code, out, _ = textcl_in("search", "index", "--queries", "queries.txt", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["query"] for line in lines] == ["a cat runs", "red water"]
    assert [len(line["hits"]) for line in lines] == [4, 4]
    code, out, err = textcl_in("search", "index", "--queries", "queries.txt", "-o", "hits.jsonl")
    hits = [json.loads(line) for line in (place / "hits.jsonl").read_text().splitlines()]
    places = [(hit["query_row"], hit["rank"]) for hit in hits]
    assert places == [(query, rank) for query in (1, 2) for rank in (1, 2, 3, 4)]
    assert "hits.jsonl: 8 hits of 2 queries" in err
    _, out, _ = textcl_in("neighbours", "index", "d1", "--json", "--top-k", "3")
    assert "d1" not in [hit["id"] for hit in json.loads(out)["hits"]]
    (place / "more.txt").write_text("a cat eats\n")
    code, _, err = textcl_in("index", "more.txt", "-o", "index", "--mode", "add")
    assert (code, err.strip()) == (0, "index: 1 document added, 5 in all")
    (place / "ids.txt").write_text("d0\n1\n")
    code, _, err = textcl_in("index", "ids.txt", "-o", "index", "--mode", "remove")
    assert (code, err.strip()) == (0, "index: 2 documents removed, 3 left")
    code, _, err = textcl_in("index", "corpus.jsonl", "-m", "bert", "-o", "index")
    assert (code, "exists already" in err) == (2, True)


def test_nothing_but_an_index_is_replaced_by_one(textcl_in, place):
    model = sorted(path.name for path in (place / "bert").iterdir())
    code, _, err = textcl_in("index", "corpus.jsonl", "-m", "bert", "-o", "bert", "--overwrite")
    assert (code, "bert would be replaced, and bert is read from it" in err) == (2, True)
    shutil.copytree(place / "bert", place / "other")
    code, _, err = textcl_in("index", "corpus.jsonl", "-m", "bert", "-o", "other", "--overwrite")
    assert (code, "other holds something else" in err) == (2, True)
    assert sorted(path.name for path in (place / "other").iterdir()) == model
    assert sorted(path.name for path in (place / "bert").iterdir()) == model


def test_documents_are_shown_as_they_are(textcl_in, place):
    (place / "odd.txt").write_text("[red]a man[/red]\n\x1b[31mplays\n")
    textcl_in("index", "odd.txt", "-m", "bert", "-o", "odd")
    _, out, _ = textcl_in("search", "odd", "[b]man[/b]")
    assert "[red]a man[/red]" in out
    assert "[b]man[/b]" in out


def test_a_text_of_the_corpus_does_not_steer_the_terminal(textcl_in, place):
    text = "red\x1b]0;title\x07 food \x1b[2J\u202e"
    row = json.dumps({"_id": "d\x1b[1m", "title": "", "text": text})
    (place / "hostile.jsonl").write_text(f"{row}\n")
    assert textcl_in("index", "hostile.jsonl", "-m", "bert", "-o", "hostile")[0] == 0
    code, out, err = textcl_in("search", "hostile", "red food")
    assert code == 0, err
    assert "food" in out
    assert not {"\x1b", "\x07", "\u202e"} & set(out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "nowhere", "x"], "nowhere is no index"),
        (["search", "index"], "name one thing to search for"),
        (["search", "index", "x", "--queries", "queries.txt"], "name one thing to search for"),
        (["index", "corpus.jsonl", "-o", "new"], "a new index needs a model"),
        (["index", "-", "-m", "bert", "-o", "new"], "cannot be standard input"),
        (["index", "nowhere.jsonl", "-m", "bert", "-o", "new"], "there is no file or folder"),
        (["index", "corpus.jsonl", "-o", "nowhere", "--mode", "add"], "nowhere is no index"),
        (["index", "corpus.jsonl", "-m", "bert", "-o", "new", "--column", "x=y"], "text|id=NAME"),
    ],
)
def test_a_mistake_is_one_sentence(textcl_in, arguments, message):
    code, out, err = textcl_in(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1


def test_pairs_are_mined_audited_and_mined_again_with_marks(
    textcl_in, place, monkeypatch, tmp_path
):
    monkeypatch.setattr("textcl.retrieval.triplets.cache_folder", lambda: tmp_path)
    (place / "pairs.csv").write_text(
        "question,answer\nwho plays,a man plays guitar\nwhat runs,a dog runs in the field\n"
    )
    call = [
        "mine", "bert", "pairs.csv", "--corpus", "corpus.jsonl", "-o", "triplets.jsonl", "--negatives", 1,
        "--column", "anchor=question", "--column", "positive=answer", "--relative-margin", 2,
        "--ranks", "0:3", "--overwrite",
    ]  # fmt: skip
    code, _, err = textcl_in(*call)
    assert (code, "none of 2 anchors has 1 negative by the rules" in err) == (2, True)
    call[call.index("--relative-margin") + 1] = "much"
    assert "such as 0.05, or none, got 'much'" in textcl_in(*call)[2]
    call[call.index("--relative-margin") + 1] = "none"
    call += ["--max-score", 2]
    code, out, err = textcl_in(*call)
    assert code == 0, err
    assert "triplets.jsonl: " in err
    rows = [json.loads(line) for line in (place / "triplets.jsonl").read_text().splitlines()]
    assert [*rows[0]] == [
        "anchor", "positive", "negative_1", "positive_id", "negative_1_id", "scores"
    ]  # fmt: skip
    (place / "marks.csv").write_text(
        f"anchor,negative,mark\n{rows[0]['anchor']},{rows[0]['negative_1']},relevant\n"
    )
    code, out, err = textcl_in(*call, "--marks", "marks.csv")
    assert code == 0, err
    assert "of 1 marked negatives 1 are relevant (100 %): left out" in err
    assert "marked as relevant" in out


@pytest.mark.parametrize("ranks", ["3", "a:b", "5:", "-1:3"])
def test_ranks_of_another_form_are_one_sentence(textcl_in, ranks):
    code, _, err = textcl_in("mine", "bert", "corpus.jsonl", "-o", "new.jsonl", f"--ranks={ranks}")
    assert (code, "expected --ranks FROM:TO" in err) == (2, True)


def test_the_page_of_an_audit_is_named_as_one(textcl_in):
    code, _, err = textcl_in("mine", "m", "pairs.jsonl", "-o", "t.jsonl", "--audit", "audit")
    assert code == 2
    assert "let audit end in .html" in err
