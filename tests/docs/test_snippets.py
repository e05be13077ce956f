"""Every snippet of the README and of the documentation is parsed, and executed with a tiny model unless it is marked.

A comment before a block, `<!-- not run: why -->`, leaves it at parsing; `<!-- slow: why -->` leaves it to
`pytest -m slow`.
The blocks of a page are executed in their order in one folder, so a page may use what it has made.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import random
import re
import shutil
import sys
import threading
import tomllib
import urllib.error
import urllib.request
from dataclasses import fields
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from families import WORDS, tiny_model_dir
from labelled import labelled, write_jsonl
from snippets import ROOT, Snippet, pages, snippets_of
from typer.main import get_command
from typer.testing import CliRunner

import textcl
from textcl.cli.app import app

# What stands for a model, a task and a suite that a machine without a network lacks.
MODELS = {
    "bert-base-uncased": "bert",
    "sentence-transformers/all-MiniLM-L6-v2": "bert",
    "Qwen/Qwen3-0.6B": "qwen3",
}
TASKS = {"STSBenchmark-dev": "sample-pairs-dev", "STS12": "sample-pairs-dev"}
SUITES = {"sts": "sample"}
SMALLER = {("--suite", "sts"): "sample", ("--components", "256"): "16"}
SMALL = {
    "max_length": 16,
    "batch_size": 8,
    "steps": 2,
    "save_every": 0,
    "log_every": 1,
    "shuffle_buffer": 16,
}
DEV = "graded.jsonl"  # where a page names none
EVERYWHERE = ("--offline", "--debug")  # taken out before a command is looked up
SETS_UP = ("python3", "python", "source", "pip", "pytest", "bash", "pre-commit")

COMMANDS = get_command(app).commands
SNIPPETS = [s for page in [*pages(), ROOT / "CONTRIBUTING.md"] for s in snippets_of(page)]


# Parsing --------------------------------------------------------------------------------------------------------------


def place(snippet):
    return f"{snippet.page}:{snippet.line}"


@pytest.mark.parametrize("snippet", SNIPPETS, ids=place)
def test_snippet_can_be_read(snippet):
    assert snippet.language in ("bash", "python", "text", ""), "name the language of a block"
    if snippet.language == "python":
        compile(snippet.code, place(snippet), "exec")
    if snippet.language == "bash":
        for words in snippet.commands:
            check_command(words)


def test_examples_in_the_help_of_the_commands_can_be_read():
    command = re.compile(r"^textcl [^\n]+|\btextcl [^·\n]+", re.MULTILINE)
    for name, found in COMMANDS.items():
        text = f"{found.help or ''}\n{found.epilog or ''}".partition("Examples:")[2]
        examples = command.findall(re.sub(r"(?<=\S)\n(?=\S)", " ", text))
        assert examples, f"textcl {name} shows no example"
        for example in examples:
            for words in Snippet(name, 0, "bash", example.strip(), "").commands:
                check_command(words)


def check_command(words):
    """Its program, its options, and the recipes, settings and tasks it names exist."""
    if re.fullmatch(r"[A-Z_]+=\S*", words[0]):  # a variable for this command alone
        words = words[1:]
    if "-m" in words and words[words.index("-m") + 1] == "textcl":
        words = words[words.index("-m") + 1 :]
    if words[0] in SETS_UP:
        check_set_up(words)
    elif words[0] == "textcl":
        check_textcl(words[1:])
    else:
        assert words[0] in ("zcat", "head", "accelerate", "torchrun"), f"unknown program in {words}"


def check_set_up(words):
    for word in words[1:]:
        if word.endswith((".py", ".txt")) or word == ".ci/run":
            assert (ROOT / word).exists(), f"{word} does not exist"
        if extras := re.fullmatch(r"\.\[([\w,]+)\]", word):
            known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
            assert set(extras[1].split(",")) <= known["optional-dependencies"].keys()


def check_textcl(words):
    words = [word for word in words if word not in EVERYWHERE]
    command = COMMANDS[words[0]]
    context = command.make_context(words[0], words[1:])
    given = context.params
    names = [name for name in str(given.get("recipe") or "").split(",") if name]
    for name in names:
        assert name.endswith(".py") or name in settings_by_recipe(), f"no recipe {name}"
    for setting in given.get("set_") or given.get("settings") or []:
        key = setting.partition("=")[0].rpartition(":")[2].replace("-", "_")
        known = [settings_by_recipe()[name] for name in names if not name.endswith(".py")]
        assert all(key in keys for keys in known), f"no setting {key} in {names}"
    for task in [*(given.get("suite") or []), *(given.get("task") or [])]:
        assert re.split("[/:]", task)[0] in task_names(), f"no task {task}"


@cache
def settings_by_recipe():
    """The settings of every recipe that comes with textcl."""
    found = {}
    for path in (ROOT / "recipes").glob("[!_]*.py"):
        spec = importlib.util.spec_from_file_location(f"snippet_recipe_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look their module up by name
        spec.loader.exec_module(module)
        found[path.stem.replace("_", "-")] = {field.name for field in fields(module.Settings)}
    return found


@cache
def task_names():
    tasks = [tomllib.loads(p.read_text()) for p in (ROOT / "eval" / "tasks").glob("*.toml")]
    suites = tomllib.loads((ROOT / "eval" / "tasks" / "suites.toml").read_text())
    return {str(task["name"]) for task in tasks if "name" in task} | suites.keys()


# Executing ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """A folder with the files that the pages speak of, a tiny model, and a finished run."""
    folder = tmp_path_factory.mktemp("material")
    for family in dict.fromkeys(MODELS.values()):
        tiny_model_dir(folder, family, layers=3)
    draw = random.Random(0)
    lines = [" ".join(draw.sample(WORDS, draw.randint(3, 7))) for _ in range(40)]
    (folder / "sentences.txt").write_text("\n".join(lines) + "\n")
    (folder / "corpus.csv").write_text(
        "id,body\n" + "".join(f"{i},{x}\n" for i, x in enumerate(lines))
    )
    for seed, (name, rows) in enumerate((("train", 60), ("dev", 20), ("test", 20), ("new", 5))):
        made = [(row["text"], row["label"]) for row in labelled(rows, seed=seed)]
        body = "".join(
            f"{text},{label}\n" if name != "new" else f"{text}\n" for text, label in made
        )
        (folder / f"{name}.csv").write_text(("text,label\n" if name != "new" else "text\n") + body)
    for name, source in (("articles", "train"), ("more", "dev")):
        articles = (folder / f"{source}.csv").read_text().splitlines()[1:]
        toned = [f"{row},{('calm', 'angry')[i % 2]}" for i, row in enumerate(articles)]
        (folder / f"{name}.csv").write_text("\n".join(["body,topic,tone", *toned, ""]))
    (folder / "pairs.csv").write_text(
        "anchor,positive\n" + "".join(f"{x},{y}\n" for x, y in pairwise(lines))
    )
    more = [{"anchor": x, "positive": y} for x, y in pairwise(reversed(lines))]
    write_jsonl(folder / "more_pairs.jsonl", more)
    write_beir(folder / "my_dev", lines, "dev")
    write_beir(folder / "my_corpus", lines, "test")
    (folder / "questions.csv").write_text(
        "anchor,positive\n" + "".join(f"{' '.join(x.split()[:2])},{x}\n" for x in lines[:8])
    )
    write_jsonl(
        folder / "passages.jsonl", [{"_id": f"p{i}", "text": x} for i, x in enumerate(lines)]
    )
    write_jsonl(folder / "emotions.jsonl", labelled(24))
    write_jsonl(folder / "several.jsonl", labelled(48, several=True))
    graded = [
        {"sentence1": x, "sentence2": y, "score": score % 6}
        for score, (x, y) in enumerate(pairwise(lines[:12]))
    ]
    write_jsonl(folder / DEV, graded)
    textcl.train(
        "unsup-simcse", model=str(folder / "bert"), data=str(folder / "sentences.txt"), dev=str(folder / DEV),
        settings=SMALL | {"num_layers": 1}, output=folder / "runs" / "mine",
    )  # fmt: skip
    return folder


def write_beir(folder, lines, split):
    """Queries that are judged against a corpus, in the layout of BEIR."""
    (folder / "qrels").mkdir(parents=True)
    corpus = [{"_id": f"d{i}", "text": line} for i, line in enumerate(lines)]
    write_jsonl(folder / "corpus.jsonl", corpus)
    write_jsonl(folder / "queries.jsonl", [{"_id": "q", "text": lines[0]}])
    (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\nq\td1\t1\n")


@pytest.fixture
def folder(material, tmp_path, monkeypatch):
    """A copy of the material, in which the blocks of one page are executed."""
    shutil.copytree(material, tmp_path, dirs_exist_ok=True)
    for name in ("a", "b"):
        shutil.copytree(material / "runs" / "mine", tmp_path / "runs" / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def executed(mark):
    return [
        page.relative_to(ROOT).as_posix()
        for page in pages()
        if any(s.mark == mark and s.language in ("bash", "python") for s in snippets_of(page))
    ]


@pytest.mark.parametrize("page", executed(""))
def test_snippets_of_a_page_run(page, folder):
    printed = [execute(snippet) for snippet in snippets_of(ROOT / page) if not snippet.mark]
    if page == "docs/guides/classes.md":
        check_classifier(folder, printed[0])


def check_classifier(folder, printed):
    """The guide says what a calibration is worth, and leaves the confusions and the classes of the new texts.

    Whether a calibration is written depends on the rows: that is tested with the calibration.
    """
    assert "20 rows, 15 bins" in printed
    with (folder / "classes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5
    assert {"text", "label", "probability", "entropy", "label_3"} <= rows[0].keys()
    assert list((folder / "pictures").iterdir())
    check_service()


def check_service():
    """The service of the guide answers what are no texts with the reason."""
    (service,) = [s for s in snippets_of(ROOT / "docs/guides/classes.md") if "do_POST" in s.code]
    made = surroundings()
    exec(compile(in_small(service.code), place(service), "exec"), made)
    server = made["HTTPServer"](("127.0.0.1", 0), made["Answer"])
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        for body in (b"where", b"[1, null]", b'"a text"'):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}", body)
            assert refused.value.code == 400
            assert json.loads(refused.value.read())["error"]
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in executed("slow") if "classes" not in page])
def test_slow_snippets_of_a_page_run(page, folder):
    for snippet in snippets_of(ROOT / page):
        if snippet.mark == "slow":
            execute(snippet)


def execute(snippet):
    """Run a snippet; what its commands printed."""
    printed = ""
    if snippet.language == "python":
        exec(compile(in_small(snippet.code), place(snippet), "exec"), surroundings())
    if snippet.language == "bash":
        for words in snippet.commands:
            if words[0] == "textcl":
                printed += run(words[1:], place(snippet))
            else:
                assert words[0] in SETS_UP, f"{place(snippet)}: mark what cannot be run: {words}"
    return printed


def run(words, where):
    words = in_small_words([word for word in words if word not in EVERYWHERE])
    if "openvino" in words and importlib.util.find_spec("openvino") is None:
        pytest.skip("needs the extra `openvino`")
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, f"{where}: textcl {' '.join(words)}\n{result.output}"
    return result.output


def in_small_words(words):
    """The command with a tiny model, tasks at hand and two updates; a sweep only lists its runs."""
    model = str(Path("bert").absolute())
    words = [
        str(Path(MODELS[word]).absolute()) if word in MODELS else TASKS.get(word, word)
        for word in words
    ]
    words = [
        SMALLER.get((before, word), word) for before, word in zip(["", *words], words, strict=False)
    ]
    if words[0] == "sweep":
        return [*words, "--dry-run"]
    if words[0] == "probe" and "--data" not in words:
        return [*words, "--data", "sample-pairs-dev"]
    if words[0] == "eval" and not {"--suite", "--task", "--data"} & {*words}:
        return [*words, "--suite", "sample"]
    if "--resume" in words:
        unfinish(Path(words[words.index("--resume") + 1]))
    if words[0] != "train" or "--resume" in words:
        return words
    for key, value in SMALL.items():
        words = [*without_setting(words, key), "--set", f"{key}={value}"]
    if "--model" not in words:
        words += ["--model", model]
    if "--dev" not in words:
        words += ["--dev", DEV]
    if "--seeds" in words:
        words[words.index("--seeds") + 1] = "0..1"
    elif "--output" in words:
        words += ["--overwrite"]
    return words


def without_setting(words, key):
    """A command without `--set key=…`, of which it takes only one."""
    taken = [place for place, word in enumerate(words) if word.startswith(f"{key}=")]
    return [word for place, word in enumerate(words) if not {place, place + 1} & {*taken}]


def unfinish(run):
    """What a kill after the last checkpoint would have left."""
    scores = json.loads((run / "scores.json").read_text())
    (run / "scores.json").write_text(json.dumps({**scores, "finished": False}))


def in_small(code):
    """Python with a tiny model and tasks at hand."""
    for name, tiny in MODELS.items():
        code = code.replace(f'"{name}"', f'"{Path(tiny).absolute()}"')
    for names in (TASKS, SUITES):
        for name, small in names.items():
            code = code.replace(f'"{name}"', f'"{small}"')
    return code.replace("textcl.train(", "train_small(")


def surroundings():
    """Names that a snippet may use without making them: a model in the reader's own loop."""
    model = torch.nn.Linear(8, 4)

    def train_small(recipe, settings=(), **options):
        settings = {**SMALL, **dict(settings)}
        return textcl.train(recipe, settings=settings, dev=DEV, overwrite=True, **options)

    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters()),
        "batches": [(torch.randn(6, 8), torch.randn(6, 8)) for _ in range(2)],
        "train_small": train_small,
    }
