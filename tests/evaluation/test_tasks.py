import hashlib
import json
import os
import re
from pathlib import Path

import datasets
import numpy as np
import pytest

from textcl.errors import UserError
from textcl.evaluation import tasks
from textcl.evaluation.labelled import labelled_manifests
from textcl.evaluation.tasks import (
    SUITE_KINDS,
    StsTask,
    descriptions,
    load_task,
    manifests,
    suites,
    task_names,
)

SHARED = Path(os.environ.get("TEXTCL_DATA", Path(__file__).parents[3] / "shared" / "data"))
ROWS = [
    {"subset": "a", "score": 4.5, "sentence1": "one", "sentence2": "two"},
    {"subset": "a", "score": None, "sentence1": "three", "sentence2": "ünïcode \u2028 text"},
    {"subset": "b", "score": "", "sentence1": "one", "sentence2": "four"},
    {"subset": "b", "score": 0, "sentence1": "five", "sentence2": "six"},
]
CONTENT = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()
COLUMNS = (
    'columns = { sentence1 = "sentence1", sentence2 = "sentence2", score = "score"'
    ', subset = "subset" }'
)
HEAD = """
name = "{name}"
label = "toy"
kind = "sts"
split = "test"
rows = 4
metric = "spearman"
score_range = [0, 5]
protocol = "toy-{{aggregation}}"
licence = "none"
citation = "nobody"
"""
LOCAL = f"""
[subsets]
a = 2
b = 2
[local]
path = "toy/toy.jsonl"
sha256 = "{hashlib.sha256(CONTENT).hexdigest()}"
{COLUMNS}
"""
HUB = """
[hub]
id = "owner/toy"
revision = "0123456789abcdef"
split = "validation"
columns = { sentence1 = "left", sentence2 = "right", score = "gold" }
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Three tasks: in a local file, there or on the hub, and on the hub only."""
    folder, data = tmp_path / "tasks", tmp_path / "data"
    (data / "toy").mkdir(parents=True)
    folder.mkdir()
    (data / "toy" / "toy.jsonl").write_bytes(CONTENT)
    texts = {"local": LOCAL, "both": LOCAL + HUB, "hub": HUB}
    for name, text in texts.items():
        (folder / f"{name}.toml").write_text(HEAD.format(name=name) + text)
    (folder / "suites.toml").write_text('pair = ["both", "local"]\n')
    monkeypatch.setattr(tasks, "tasks_dir", lambda: folder)
    monkeypatch.setenv("TEXTCL_DATA", str(data))
    return data


@pytest.fixture
def hub(monkeypatch):
    """A stand-in for the hub: what is in `asked` was asked of it, what is in `table` comes back."""

    class Hub:
        asked: tuple[str, str, str] | None = None
        table: datasets.Dataset | None = datasets.Dataset.from_dict(
            {
                "left": [row["sentence1"] for row in ROWS],
                "right": [row["sentence2"] for row in ROWS],
                "gold": [4.5, None, None, 0.0],
            }
        )

        def load(self, path, *, split, revision):
            self.asked = (path, split, revision)
            if self.table is None:
                raise ConnectionError("Couldn't reach the hub")
            return self.table

    stand_in = Hub()
    monkeypatch.setattr(datasets, "load_dataset", stand_in.load)
    return stand_in


# What ships


def test_every_manifest_is_complete_and_pinned():
    known = manifests()
    assert len(known) >= 11
    for name, manifest in known.items():
        assert manifest.name == name
        assert manifest.kind == "sts"
        assert manifest.rows > 0
        assert manifest.licence
        assert manifest.citation
        assert manifest.package or manifest.local
        for source in (manifest.package, manifest.local):
            if source:
                assert re.fullmatch(r"[0-9a-f]{64}", source.sha256)
                assert {"sentence1", "sentence2", "score"} <= set(source.columns)
                assert ("subset" in source.columns) == bool(manifest.subsets)
        if manifest.hub:
            assert re.fullmatch(r"[0-9a-f]{40}", manifest.hub.revision)
        if manifest.subsets:
            assert sum(manifest.subsets.values()) == manifest.rows


def test_sts_suite_is_the_seven_tasks_of_the_papers_in_their_order():
    assert suites()["sts"] == [
        "STS12",
        "STS13",
        "STS14",
        "STS15",
        "STS16",
        "STSBenchmark",
        "SICK-R",
    ]
    rows = [manifests()[name].rows for name in suites()["sts"]]
    assert rows == [3108, 1500, 3750, 3000, 1186, 1379, 4927]
    assert [len(manifests()[name].subsets) for name in suites()["sts"]] == [5, 3, 6, 5, 5, 0, 0]


def test_words_suite_is_scored_under_two_protocols():
    known, words = manifests(), suites()["words"]
    assert [known[name].rows for name in words] == [999, 3500, 353, 3000, 771, 65, *[1888] * 12]
    assert {known[name].protocol for name in words[:6]} == {"word-similarity"}
    assert {known[name].protocol for name in words[6:]} == {"multi-simlex"}


def test_every_suite_names_tasks_that_exist():
    for members in suites().values():
        others = {about["name"] for about in descriptions() if about["kind"] in SUITE_KINDS}
        assert set(members) <= {*manifests(), *labelled_manifests(), *others}


@pytest.mark.parametrize("part", ["dev", "test"])
def test_sample_needs_no_data_folder_and_says_that_it_is_a_smoke_set(part, monkeypatch):
    monkeypatch.delenv("TEXTCL_DATA", raising=False)
    task = load_task(f"sample-pairs-{part}")
    assert task.manifest is not None
    assert "smoke set" in task.manifest.note
    assert task.subsets is not None
    assert {name: task.subsets.count(name) for name in set(task.subsets)} == task.manifest.subsets
    assert (task.scores.min(), task.scores.max()) == (0, 5)
    assert task.protocol("all") == "textcl-sample-all"


def test_sample_parts_share_no_sentence():
    dev, test = (load_task(f"sample-pairs-{part}") for part in ("dev", "test"))
    assert not {*dev.sentences1, *dev.sentences2} & {*test.sentences1, *test.sentences2}


@pytest.mark.skipif(not (SHARED / "sts").is_dir(), reason="the original data is not here")
def test_original_data_is_what_the_manifests_describe(monkeypatch):
    monkeypatch.setenv("TEXTCL_DATA", str(SHARED))
    for name, manifest in manifests().items():
        task = load_task(name)
        assert len(task.sentences1) == len(task.sentences2) == len(task.scores) == manifest.rows
        low, high = manifest.score_range
        assert low <= np.nanmin(task.scores)
        assert np.nanmax(task.scores) <= high
        assert task.subsets is not None
        found = {subset: task.subsets.count(subset) for subset in dict.fromkeys(task.subsets)}
        assert found == (dict(manifest.subsets) or {manifest.split: manifest.rows})


@pytest.mark.network
@pytest.mark.parametrize("name", ["STS12", "STS16", "STSBenchmark-dev"])
def test_hub_copy_has_the_rows_of_the_manifest(name, monkeypatch):
    monkeypatch.delenv("TEXTCL_DATA", raising=False)
    assert len(load_task(name).scores) == manifests()[name].rows


# Names


def test_task_names_spell_out_suites_once(toy):
    assert task_names(["local", "pair", "hub"]) == ["local", "both", "hub"]


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ("STSbenchmark", "did you mean STSBenchmark"),
        ("sts-12", "did you mean .*STS12"),
        ("st", "did you mean sts"),
        ("zebra", "there are sts, sample, .*STS16"),
    ],
)
def test_unknown_name_is_answered_with_the_nearest(asked, hint):
    with pytest.raises(UserError, match=f"no benchmark task or suite is called '{asked}': {hint}"):
        task_names([asked])


def test_tasks_of_labelled_texts_have_names_but_no_pairs():
    assert task_names(["ISEAR", "EmpatheticDialogues/hard-a"])[1] == "EmpatheticDialogues/hard-a"
    assert len(task_names(["emotion"])) == 12
    with pytest.raises(UserError, match="ISEAR is a task of labelled texts, graded pairs were"):
        load_task("ISEAR")


def test_unknown_task_cannot_be_loaded():
    with pytest.raises(UserError, match="called 'SICKR': did you mean SICK-R"):
        load_task("SICKR")


# Data from files


def test_local_task_is_read_by_role_with_blank_gold_as_nan(toy):
    task = load_task("local")
    assert task.sentences1 == ["one", "three", "one", "five"]
    assert task.sentences2 == ["two", "ünïcode \u2028 text", "four", "six"]
    assert task.scores.tolist() == pytest.approx([4.5, np.nan, np.nan, 0.0], nan_ok=True)
    assert task.subsets == ["a", "a", "b", "b"]
    assert task.source == "TEXTCL_DATA/toy/toy.jsonl"
    assert task.protocol("wmean") == "toy-wmean"


def test_file_with_other_rows_or_bytes_is_refused_with_both_counts_and_hashes(toy):
    path, right = toy / "toy" / "toy.jsonl", hashlib.sha256(CONTENT).hexdigest()
    path.write_bytes(CONTENT[: CONTENT.rindex(b"{")])
    with pytest.raises(
        UserError, match=f"toy.jsonl is not .*expected 4 rows with sha256 {right}, got 3"
    ):
        load_task("local")
    changed = CONTENT.replace(b"five", b"Five")
    path.write_bytes(changed)
    wrong = hashlib.sha256(changed).hexdigest()
    with pytest.raises(UserError, match=f"got 4 rows with sha256 {wrong}: put the original there"):
        load_task("local")


def test_missing_file_names_the_place_and_what_belongs_there(toy):
    (toy / "toy" / "toy.jsonl").unlink()
    with pytest.raises(
        UserError, match=r"toy.jsonl \(No such file.*expected 4 rows.*original there$"
    ):
        load_task("local")
    with pytest.raises(UserError, match=r"or unset TEXTCL_DATA to use the hub$"):
        load_task("both")


def test_without_textcl_data_a_task_that_is_not_on_the_hub_says_how_to_get_it(toy, monkeypatch):
    monkeypatch.delenv("TEXTCL_DATA")
    with pytest.raises(
        UserError, match=r"set TEXTCL_DATA to the folder that holds toy/toy.jsonl \(4 rows\)"
    ):
        load_task("local")


def test_textcl_data_is_read_when_a_task_is_loaded(toy, hub, monkeypatch):
    assert load_task("both").source.startswith("TEXTCL_DATA/")
    assert hub.asked is None
    monkeypatch.delenv("TEXTCL_DATA")
    assert load_task("both").source.startswith("owner/toy@01234567")


# Data from the hub


def test_hub_task_is_asked_for_at_its_revision_and_read_by_role(toy, hub):
    task = load_task("hub")
    assert hub.asked == ("owner/toy", "validation", "0123456789abcdef")
    assert task.sentences1 == ["one", "three", "one", "five"]
    assert task.sentences2[0] == "two"
    assert task.scores.tolist() == pytest.approx([4.5, np.nan, np.nan, 0.0], nan_ok=True)
    assert task.subsets == ["test"] * 4
    assert task.has_subsets


def test_hub_copy_without_the_subsets_of_the_manifest_does_not_invent_them(toy, hub, monkeypatch):
    monkeypatch.delenv("TEXTCL_DATA")
    task = load_task("both")
    assert task.subsets is None
    assert not task.has_subsets


def test_hub_copy_with_other_rows_or_columns_is_refused(toy, hub):
    whole = hub.table
    hub.table = whole.select([0, 1])
    with pytest.raises(
        UserError, match=r"owner/toy at revision 01234567.* has 2 rows, but 4 were expected"
    ):
        load_task("hub")
    hub.table = whole.rename_column("gold", "stars")
    with pytest.raises(UserError, match="has no column 'gold', only left, right, stars"):
        load_task("hub")


def test_unreachable_hub_is_one_sentence_that_says_how_to_go_on(toy, hub, monkeypatch):
    monkeypatch.delenv("TEXTCL_DATA")
    hub.table = None
    with pytest.raises(
        UserError, match=r"both could not be fetched .*ConnectionError.*holds toy/toy.jsonl, or"
    ):
        load_task("both")


def test_pairs_of_ones_own_have_a_protocol_of_their_own():
    task = StsTask("mine", ["a"], ["b"], np.array([1.0]))
    assert task.protocol("all") == "own-pairs-all"
    assert task.has_subsets
