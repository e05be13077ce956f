"""The recipe `static`: the table learns from the teacher's vectors of sentences."""

import io
import json
import random

import families
import numpy as np
import pytest
from rich.console import Console
from training_runs import last_of_each

from textcl import Encoder, train
from textcl.errors import UserError

QUIET = Console(file=io.StringIO())


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher") / "model"
    families.tiny_encoder(layers=1, normalize=True).save_pretrained(folder)
    return folder


def sentences(count, seed=0):
    draw = random.Random(seed)
    return [" ".join(draw.choices(families.WORDS, k=draw.randint(3, 8))) for _ in range(count)]


def run(teacher, output, *settings):
    common = ("steps=20", "batch_size=32", "dimension=16", "log_every=1", "precision=fp32")
    return train(
        "static", model=teacher, data=sentences(200), dev="", output=output,
        settings=last_of_each([*common, *settings]), console=QUIET,
    )  # fmt: skip


@pytest.mark.parametrize("loss", ["similarity", "kl", "embeddings"])
def test_training_matches_the_teacher_better_and_what_is_saved_is_trained(loss, teacher, tmp_path):
    trained = run(teacher, tmp_path / "run", f"loss={loss}")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in lines]
    assert np.mean(losses[-4:]) < 0.8 * losses[0]
    saved = Encoder.from_pretrained(tmp_path / "run")
    assert saved.dimension == 16
    texts = sentences(20, seed=1)
    np.testing.assert_allclose(saved.encode(texts), trained.encoder.encode(texts), atol=1e-6)


def test_a_static_model_goes_on_with_a_teacher(teacher, tmp_path):
    run(teacher, tmp_path / "a", "steps=1")
    with pytest.raises(UserError, match=r"is static itself: name the teacher, --set teacher=MODEL"):
        run(tmp_path / "a", tmp_path / "b")
    again = run(tmp_path / "a", tmp_path / "b", f"teacher={teacher}", "steps=1")
    assert again.encoder.dimension == 16


def test_settings_of_layers_are_refused(teacher, tmp_path):
    for setting in ("dropout=0.1", "adapter=lora:2"):
        with pytest.raises(UserError, match="changes layers, and a static model has none"):
            run(teacher, tmp_path / "run", setting)
    with pytest.raises(UserError, match=r"setting words names .*gone\.txt, which cannot be read"):
        run(teacher, tmp_path / "run", f"words={tmp_path / 'gone.txt'}")
    assert not (tmp_path / "run").exists()


def test_a_bad_start_is_refused_before_any_row_is_read(teacher, tmp_path):
    class Rows(list[str]):
        def __iter__(self):
            raise AssertionError("rows were read")

    def start(model, *settings):
        train(
            "static",
            model=model,
            data=Rows(["a"]),
            dev="",
            output=tmp_path / "run",
            settings=settings,
            console=QUIET,
        )

    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty is not a model folder: it has no config\.json"):
        start(tmp_path / "empty")
    with pytest.raises(UserError, match="is not a folder: name a model folder"):
        start(tmp_path / "gone")
    with pytest.raises(UserError, match="is not a folder: name a model folder"):
        start(teacher, f"teacher={tmp_path / 'gone'}")
    with pytest.raises(UserError, match=r"dropout=0\.1 changes layers"):
        start(teacher, "dropout=0.1")
    with pytest.raises(AssertionError, match="rows were read"):
        start(teacher)


def test_words_of_a_file_become_tokens(teacher, tmp_path):
    (tmp_path / "words.txt").write_text("wombat\nquokka\n", encoding="utf-8")
    trained = run(teacher, tmp_path / "run", "steps=1", f"words={tmp_path / 'words.txt'}")
    vocabulary = trained.encoder.tokenizer.get_vocab()
    assert {"wombat", "quokka"} <= set(vocabulary)
