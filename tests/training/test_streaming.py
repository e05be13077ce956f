"""Training on rows that are streamed: the order of a shuffle buffer, and runs that go on as if they had not stopped."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace

import datasets
import numpy as np
import pyarrow
import pytest
import torch
from families import WORDS, tiny_model_dir
from hub_server import FIRST, NAME, SECOND, hub_of
from huggingface_hub import HfFileSystem
from pyarrow import parquet
from training_runs import assert_same_run, crash_at, losses, quiet

from textcl.data.reading import Selection
from textcl.data.sources import open_source
from textcl.data.streamed import StreamedRows
from textcl.distributed import World
from textcl.errors import UserError
from textcl.training.loader import Collate, Loader
from textcl.training.samplers import StreamBatches
from textcl.training.session import resume, train
from textcl.types import Tokens
from textcl.views.view import View

SETTINGS = {
    "batch_size": 8, "steps": 9, "learning_rate": 1e-3, "evaluate_every": 3, "save_every": 2, "log_every": 1,
    "pooling": "mean", "dropout": 0.2, "shuffle_buffer": 20, "max_length": 32,
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(tiny_model_dir(tmp_path_factory.mktemp("streaming") / "model"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Three files of 15 rows: 9 updates of 8 rows pass over them more than once."""
    folder, draw = tmp_path_factory.mktemp("corpus"), random.Random(0)
    for part in range(3):
        texts = [" ".join(draw.sample(WORDS, 6)) for _ in range(15)]
        table = pyarrow.table({"text": texts, "anchor": texts, "positive": texts[::-1]})
        parquet.write_table(table, folder / f"{part}.parquet")
    return folder


def hub(corpus):
    files = sorted(map(str, corpus.glob("*.parquet")))
    return datasets.load_dataset("parquet", data_files=files, streaming=True)


def tokenize(texts):
    return Tokens.from_lists([[ord(c) for c in text] for text in texts])


def test_a_buffer_gives_each_of_its_rows_once_in_an_order_of_its_own():
    sampler = StreamBatches(buffer=10, batches=15, batch_size=4, seed=3)
    drawn = np.concatenate([sampler.batch(0, i) for i in range(15)])
    for number, rows in enumerate(drawn.reshape(6, 10)):
        assert sorted(rows) == list(range(10 * number, 10 * number + 10))
        assert list(rows) != sorted(rows)
    assert len({tuple(rows % 10) for rows in drawn.reshape(6, 10)}) == 6
    assert (
        drawn.tolist()
        != np.concatenate([replace(sampler, seed=4).batch(0, i) for i in range(15)]).tolist()
    )


def test_processes_share_the_batch_that_one_would_see(corpus):
    def loader(world):
        selection = Selection(open_source(f"stream:{corpus}"), ("text",), {}, None)
        views = {"anchor": View("text")}
        collate = Collate(views, {"anchor": tokenize}, 3)
        return Loader(StreamedRows(selection, 20), StreamBatches(20, 12, 8, 3), collate, world)

    alone = list(loader(World()).batches(0))
    shares = [list(loader(World(rank, 3)).batches(0)) for rank in range(3)]
    for whole, *parts in zip(alone, *shares, strict=True):
        assert torch.equal(whole.rows, torch.cat([part.rows for part in parts]))
        ids = torch.cat([part.tokens["anchor"].ids for part in parts])
        assert torch.equal(whole.tokens["anchor"].ids, ids)


@pytest.mark.parametrize(
    ("recipe", "extra", "step"),
    [
        ("unsup-simcse", {"head": "none", "accumulation": 3}, 3),
        ("pairs", {"negatives": 0}, 7),
    ],
)
def test_a_streamed_run_goes_on_as_if_it_had_not_stopped(
    recipe, extra, step, model, corpus, tmp_path, monkeypatch
):
    def run(output):
        settings = {**SETTINGS, **extra}
        source = f"stream:{corpus}"
        return train(
            recipe,
            model=model,
            data=source,
            dev="",
            output=output,
            settings=settings,
            console=quiet(),
        )

    run(tmp_path / "whole")
    with monkeypatch.context() as patch:
        crash_at(patch, step)
        with pytest.raises(ConnectionError):
            run(tmp_path / "stopped")
    resume(tmp_path / "stopped", console=quiet())
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


def test_a_hub_data_set_goes_on_at_its_own_place(model, corpus, tmp_path, monkeypatch):
    asked, data_sets = [], hub(corpus)

    def load(name, config, *, revision, streaming):
        asked.append((name, config, revision, streaming))
        return data_sets

    monkeypatch.setattr("datasets.load_dataset", load)
    data, settings = "hf://owner/name:config", {**SETTINGS, "head": "none"}
    common = {"model": model, "dev": "", "settings": settings}
    train("unsup-simcse", data=data, output=tmp_path / "whole", console=quiet(), **common)
    monkeypatch.undo()
    folder = f"stream:{corpus}"
    train("unsup-simcse", data=folder, output=tmp_path / "folder", console=quiet(), **common)
    assert_same_run(tmp_path / "whole", tmp_path / "folder")
    with monkeypatch.context() as patch:
        crash_at(patch, 5)
        with pytest.raises(ConnectionError):
            train(
                "unsup-simcse",
                data=hub(corpus)["train"],
                output=tmp_path / "own",
                console=quiet(),
                **common,
            )
    resume(tmp_path / "own", data=hub(corpus)["train"], console=quiet())
    assert losses(tmp_path / "own") == losses(tmp_path / "whole")
    assert asked == [("owner/name", "config", None, True)]


@pytest.fixture
def hub_server(corpus, tmp_path, monkeypatch):
    folder = tmp_path / "repository"
    shutil.copytree(corpus, folder)
    with hub_of(folder) as server:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.address)
        template = f"{server.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("datasets.config.HF_ENDPOINT", server.address)
        monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", False)
        HfFileSystem.clear_instance_cache()
        yield server
        HfFileSystem.clear_instance_cache()


def test_a_run_streams_from_the_hub_and_goes_on_with_the_commit_that_it_began_with(
    model, corpus, tmp_path, monkeypatch, hub_server
):
    def run(data, output):
        settings = {**SETTINGS, "head": "none"}
        return train(
            "unsup-simcse", model=model, data=data, dev="", output=output, settings=settings, console=quiet()
        )  # fmt: skip

    run(f"stream:{corpus}", tmp_path / "folder")
    with monkeypatch.context() as patch:
        crash_at(patch, 5)
        with pytest.raises(ConnectionError):
            run(f"hf://{NAME}", tmp_path / "stopped")
    hub_server.head = SECOND
    resume(tmp_path / "stopped", console=quiet())
    assert_same_run(tmp_path / "folder", tmp_path / "stopped")
    facts = json.loads((tmp_path / "stopped" / "settings.json").read_text())
    assert facts["data"]["source"] == f"hf://{NAME}@{FIRST}"
    with pytest.raises(UserError, match="neither a file or folder here nor a hub data set"):
        run(f"hf://{NAME}", tmp_path / "none")
    with pytest.raises(UserError, match="neither a file or folder here nor a hub data set"):
        run("hf://me/nothing", tmp_path / "none")


def test_what_a_stream_is_is_said(model, corpus, tmp_path):
    console = quiet()
    settings = {**SETTINGS, "head": "none", "steps": 2}
    done = train(
        "unsup-simcse", model=model, data=f"stream:{corpus}", dev="", output=tmp_path / "run", settings=settings,
        console=console,
    )  # fmt: skip
    shown = console.file.getvalue()
    assert "a stream, of which the first 20 rows (parquet, sha256" in shown
    assert "streamed through a buffer of 20 rows" in shown
    assert "a stream, of which the first 20 rows" in (done.folder.last / "README.md").read_text()


@pytest.mark.parametrize(
    ("recipe", "changes", "more", "message"),
    [
        ("unsup-simcse", {"steps": None}, {}, "nothing is known of its end: name the updates, --set steps"),
        ("unsup-simcse", {}, {"limit": 10}, "--limit and --deduplicate need all rows at once"),
        ("unsup-simcse", {}, {"deduplicate": True}, "--limit and --deduplicate need all rows"),
        ("unsup-simcse", {"shuffle_buffer": 7}, {}, "shuffle_buffer=7 holds fewer rows than a batch of 8"),
        ("unsup-simcse", {"shuffle_buffer": 46}, {}, "has 45 usable rows, fewer than shuffle_buffer=46"),
        ("unsup-simcse", {"shuffle_buffer": 0}, {}, "shuffle_buffer is a whole number of at least 1"),
        ("proto-nce", {}, {}, "streamed, without epochs, between which this recipe acts"),
        ("cross-entropy", {}, {}, "streamed, and this needs all rows at once"),
        ("pairs", {}, {"dev": "0.1"}, "of rows that are streamed none are held out"),
        ("pairs", {}, {"data": "{0} + {0}"}, "streamed, and this needs all rows at once"),
    ],
)  # fmt: skip
def test_what_a_stream_cannot_give_is_refused(
    recipe, changes, more, message, model, corpus, tmp_path
):
    asked = {"dev": "", **more}
    asked["data"] = asked.get("data", "{0}").format(f"stream:{corpus}")
    with pytest.raises(UserError, match=message):
        train(
            recipe, model=model, output=tmp_path / "run", console=quiet(),
            settings={**SETTINGS, **changes}, **asked,
        )  # fmt: skip
    assert not (tmp_path / "run").exists()


def test_a_stream_that_changed_is_not_gone_on_with(model, corpus, tmp_path, monkeypatch):
    for path in corpus.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with monkeypatch.context() as patch:
        crash_at(patch, 5)
        with pytest.raises(ConnectionError):
            train(
                "unsup-simcse", model=model, data=f"stream:{tmp_path}/*.parquet", dev="", output=tmp_path / "run",
                settings={**SETTINGS, "head": "none"}, console=quiet(),
            )  # fmt: skip
    parquet.write_table(pyarrow.table({"text": ["other"]}), tmp_path / "2.parquet")
    with pytest.raises(UserError, match="the data of this run changed"):
        resume(tmp_path / "run", console=quiet())
