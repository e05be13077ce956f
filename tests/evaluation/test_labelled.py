import hashlib
import json
import os
import re
from pathlib import Path

import pytest

from textcl.errors import UserError
from textcl.evaluation.labelled import (
    SPLITS,
    LabelledFiles,
    LabelledManifest,
    Subset,
    find_labelled,
    labelled_manifests,
    load_labelled,
    named_task,
)
from textcl.evaluation.lcl_preparation import clean_sentence, clean_tweet
from textcl.evaluation.tasks import DataFile

SHARED = Path(os.environ.get("TEXTCL_DATA", "/nowhere"))
LABELS = ["joy", "fear", "anger", "joy", "fear", "joy"]


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A task of six rows in the folder that TEXTCL_DATA names."""
    monkeypatch.setenv("TEXTCL_DATA", str(tmp_path))
    rows = [
        {"sentence": f"@you text {i} #{label}", "emotion": label} for i, label in enumerate(LABELS)
    ]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    (tmp_path / "toy.jsonl").write_bytes(content)
    about = DataFile("toy.jsonl", hashlib.sha256(content).hexdigest(), rows=6)
    return LabelledManifest(
        name="Toy",
        label="Toy",
        kind="classification",
        metric="accuracy",
        protocol="toy",
        published_as="Toy",
        licence="CC0",
        citation="nobody",
        classes=["joy", "fear", "anger"],
        local=LabelledFiles({"text": "sentence", "label": "emotion"}, about, about, about),
        lcl_preparation="tweets",
        subsets={"two": Subset(["joy", "anger"], published_as="2")},
    )


# What ships


def test_every_manifest_is_complete():
    known = labelled_manifests()
    assert len(known) == 12
    for name, manifest in known.items():
        assert manifest.name == name
        assert manifest.kind in ("classification", "multi-label")
        assert manifest.licence
        assert manifest.citation
        assert len(set(manifest.classes)) == len(manifest.classes)
        for split in SPLITS:
            assert re.fullmatch(r"[0-9a-f]{64}", manifest.local.split(split).sha256)
            assert manifest.local.split(split).rows > 0


def test_counts_are_those_of_the_papers():
    known = labelled_manifests()
    rows = {
        name: [manifest.local.split(split).rows for split in SPLITS]
        for name, manifest in known.items()
        if not manifest.filtered
    }
    assert rows == {
        "ISEAR": [4599, 1533, 1534],
        "EmoInt": [3613, 347, 3142],
        "EmpatheticDialogues": [17802, 2761, 2541],
        "GoEmotions": [23485, 2956, 2984],
        "GoEmotions-multilabel": [43410, 5426, 5427],
        "SST-5": [8544, 1101, 2210],
        "SST-2": [6920, 872, 1821],
    }
    classes = {name: len(manifest.classes) for name, manifest in known.items()}
    assert classes["EmpatheticDialogues"] == 32
    assert classes["GoEmotions"] == 27
    assert classes["GoEmotions-multilabel"] == 28
    hard = known["EmpatheticDialogues/hard-b"]
    assert hard.classes == ("devastated", "nostalgic", "sad", "sentimental")
    assert (hard.protocol, hard.published_as) == ("empathetic-class-subsets", "4-hard-b")


@pytest.mark.skipif(not (SHARED / "emotion").is_dir(), reason="the original data is not here")
def test_original_data_is_what_the_manifests_describe(monkeypatch):
    monkeypatch.setenv("TEXTCL_DATA", str(SHARED))
    for name, manifest in labelled_manifests().items():
        for split in SPLITS:
            task = load_labelled(name, split)
            lists = task.labels if task.multi_label else [[label] for label in task.labels]
            assert {label for labels in lists for label in labels} == set(manifest.classes)
            assert all(text.strip() for text in task.texts)


# Loading


def test_rows_are_read_by_role_and_kept_as_they_are(toy):
    task = load_labelled(toy, "train")
    assert task.texts[0] == "@you text 0 #joy"
    assert list(task.labels) == LABELS
    assert (task.split, task.source, task.preparation) == ("train", "TEXTCL_DATA/toy.jsonl", "")
    assert task.rows()[1] == {"text": "@you text 1 #fear", "label": "fear"}


def test_lcl_preparation_is_an_option(toy):
    task = load_labelled(toy, "train", lcl_preparation=True)
    assert task.texts[0] == "USER_MENTION text 0 joy"
    assert task.preparation == "tweets"


def test_a_subset_leaves_the_other_rows_out(toy):
    part = load_labelled(toy.subset("two", ["joy", "anger"], "2"))
    assert list(part.labels) == ["joy", "anger", "joy", "joy"]
    assert list(part.texts) == [f"@you text {i} #{LABELS[i]}" for i in (0, 2, 3, 5)]
    assert part.classes == ("joy", "anger")


def test_any_subset_of_the_classes_is_a_task():
    found = find_labelled("empatheticdialogues/sad, lonely,jealous")
    assert found.classes == ("sad", "lonely", "jealous")
    assert found.protocol == "own-subset"
    assert find_labelled("isear").name == "ISEAR"


def test_a_name_in_the_place_of_a_file_means_a_task_unless_there_is_the_file(tmp_path, monkeypatch):
    assert named_task("isear") == (find_labelled("ISEAR"), False)
    assert named_task("EmoInt:lcl") == (find_labelled("EmoInt"), True)
    assert named_task("empatheticdialogues/sad,lonely")[0].classes == ("sad", "lonely")
    for other in ("some/hub-set", "rows.jsonl", "ISEAR:config", "", 3, None, ["ISEAR"]):
        assert named_task(other) is None
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ISEAR").mkdir()
    assert named_task("ISEAR") is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("EmpatheticDialogues/sad,envy", "'envy' is none of them"),
        ("EmpatheticDialogues/sad", "at least two of its classes .*: got sad"),
        ("EmpatheticDialogues/hard-z", "is one of easy-4, hard-a"),
        ("GoEmotions-multilabel/joy,love", "is one of none with a name"),
        ("ISEAR7", "did you mean ISEAR"),
    ],
)
def test_what_is_no_task_is_told(name, message):
    with pytest.raises(UserError, match=message):
        find_labelled(name)


def test_a_changed_file_is_refused(toy, tmp_path):
    (tmp_path / "toy.jsonl").write_text('{"sentence": "a", "emotion": "joy"}\n')
    with pytest.raises(
        UserError, match=r"is not the benchmark file: expected 6 rows .* got 1 rows"
    ):
        load_labelled(toy)


def test_without_a_data_folder_the_file_is_named(toy, monkeypatch):
    monkeypatch.delenv("TEXTCL_DATA")
    with pytest.raises(
        UserError, match=r"set TEXTCL_DATA to the folder that holds toy.jsonl \(6 rows"
    ):
        load_labelled(toy)


def test_a_split_that_is_none_is_told(toy):
    with pytest.raises(UserError, match="one of train, dev, test, not 'validation'"):
        load_labelled(toy, "validation")


# What LCL's code does to texts


def test_tweets_are_cleaned_as_in_lcl():
    tweet = "RT @user_1: so #angry… see https://t.co/abc!  and 😀 wait.... ok"
    assert clean_tweet(tweet) == "RT USER_MENTION so angry see URL and wait ok"


def test_sentences_keep_only_letters_digits_and_seven_marks():
    assert clean_sentence("It 's `` great '' -- 10/10 (really), yes!?") == (
        "It 's `` great '' 10 10 (really), yes!?"
    )
