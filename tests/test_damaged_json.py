"""Each JSON file of a sweep, a probe, a folder of vectors and an index × every damage of every key: read, or told.

What becomes of whole files, and of the other kinds of folders, is in test_damaged_folders.py.
"""

import json
import shutil
from itertools import count

import pytest
from families import tiny_encoder
from json_damages import damages
from stub_encoder import StubEncoder

from textcl.data.files import write_json
from textcl.data.sources import open_source
from textcl.data.stream import stream_rows
from textcl.encoder.shards import encode_shards
from textcl.encoder.vector_folder import VectorFolder, VectorJob
from textcl.errors import RunError, UserError
from textcl.figures.sweeps import records
from textcl.probe.models import probe_models
from textcl.probe.numbers import SpaceNumbers
from textcl.probe.result import ProbeResult
from textcl.report.runs import open_all
from textcl.retrieval.index import Index
from textcl.retrieval.store import MANIFEST
from textcl.sweep.curve import curve_of
from textcl.sweep.plan import Plan
from textcl.sweep.run import Sweep
from textcl.sweep.table import Result
from textcl.training.facts import Scores

TEXTS = ["a dog runs", "a cat eats", "the bird plays", "no fish"]


@pytest.fixture(scope="module")
def encoder():
    return tiny_encoder(layers=1, hidden=32)


def sweep(folder, _encoder):
    """Two settings over two seeds, measured and probed."""
    plan = Plan.of(["unsup-simcse"], ["temperature=0.05,0.1"], [0, 1], options=["--limit", "9"])
    numbers = SpaceNumbers(uniformity=-2.0, tolerance=0.3)
    made = Sweep.create(folder, plan)
    made.results = {
        cell.name: Result(
            cell,
            "finished",
            70.0 + cell.seed + place,
            Scores(best=70.0),
            3.0,
            probes={"d": numbers},
        )
        for place, cell in enumerate(plan.cells())
    }
    made.before = {"unsup-simcse": {"d": numbers}}
    made.write()


def read_sweep(folder, _encoder):
    _, (record,) = open_all([folder])
    curve = curve_of(record.content.table)
    if curve is not None:
        records(curve)
        curve.best()
    opened = Sweep.open(folder)
    opened.content()
    opened.plan.defaults()
    for result in opened.results.values():
        opened.folder_of(result.cell)
        opened.plan.settings_of(result.cell)


def probe(folder, encoder):
    encoder.save_pretrained(folder / "model")
    (folder / "x.jsonl").write_text(
        "".join(json.dumps({"text": text, "label": text[-1]}) + "\n" for text in TEXTS * 3)
    )
    result = probe_models([str(folder / "model")], str(folder / "x.jsonl"))
    write_json(folder / "probe.json", result)


def read_probe(folder, _encoder):
    result = ProbeResult.read(folder / "probe.json")
    for model in result.models:
        model.numbers()


def vectors(folder, _encoder):
    texts = folder.with_suffix(".txt")
    texts.write_text("".join(f"{text}\n" for text in TEXTS))
    encode(folder, texts)


def encode(folder, texts, **options):
    source = open_source(str(texts))
    job = VectorJob("m" * 64, rows_per_shard=2)
    encode_shards(StubEncoder, stream_rows(source), folder, job, source=source, **options)


def read_vectors(folder, _encoder):
    texts = folder.parent / "vectors.txt"
    for attempt in (
        lambda: list(VectorFolder.open(folder).vectors()),
        lambda: encode(folder, texts),
        lambda: encode(folder, texts, overwrite=True),
    ):
        try:
            attempt()
        except (UserError, RunError) as error:
            told(error)


def index(folder, encoder):
    Index.build(encoder, TEXTS, folder, dtype="int8")
    Index.load(folder, encoder).remove(["2"])


def read_index(folder, encoder):
    opened = Index.load(folder, encoder)
    opened.search(["a dog"], 2)


KINDS = {
    "sweep": (sweep, read_sweep, ["sweep.json"]),
    "probe": (probe, read_probe, ["probe.json"]),
    "vectors": (vectors, read_vectors, ["manifest.json"]),
    "index": (index, read_index, [MANIFEST, "calibration.json"]),
}


def told(error):
    assert 20 < len(str(error)) < 700, str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("name", "every"),
    [
        *[(name, 15) for name in KINDS],
        *[pytest.param(name, 1, marks=pytest.mark.slow) for name in KINDS],
    ],
)
def test_every_damage_of_a_key_is_read_or_told_in_one_sentence(name, every, tmp_path, encoder):
    make, read, files = KINDS[name]
    intact = tmp_path / name
    if name == "probe":
        intact.mkdir()
    make(intact, encoder)
    read(intact, encoder)
    numbers = count()
    for file in files:
        whole = json.loads((intact / file).read_text())
        for where, content in damages(whole, every):
            folder = tmp_path / f"{name}-{next(numbers)}"
            shutil.copytree(intact, folder, ignore=shutil.ignore_patterns("model"))
            (folder / file).write_text(json.dumps(content))
            try:
                read(folder, encoder)
            except (UserError, RunError) as error:
                told(error)
            except Exception as error:
                pytest.fail(f"{file}: {where}: {type(error).__name__}: {error}")
            shutil.rmtree(folder)
