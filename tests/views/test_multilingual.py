"""Mirror-BERT end to end in scripts other than Latin: tokenizer, span masking, run, vectors and scores."""

from __future__ import annotations

import io
import json
import math
import os
import random
from pathlib import Path

import numpy as np
import pytest
from families import tiny_config
from rich.console import Console
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoModel, PreTrainedTokenizerFast

from textcl import Encoder, SpanMask
from textcl.training.dev import load_dev
from textcl.training.session import train

SHARED = Path(os.environ.get("TEXTCL_DATA", "/nowhere"))
SPECIAL = {
    "cls_token": "<s>",
    "pad_token": "<pad>",
    "sep_token": "</s>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}
# Who, what, where: every combination is a sentence of more than 30 code points. The Arabic words carry vowel signs.
PARTS = {
    "arabic": (
        ["الوَلَدُ الصَّغيرُ", "المُعَلِّمةُ الجَديدةُ", "الطَّبيبُ العَجوزُ", "جارَتُنا الكَريمةُ"],
        ["يَقرَأُ كِتابًا طَويلًا", "تَشرَبُ قَهوةً ساخِنةً", "يَكتُبُ رِسالةً قَصيرةً", "تَبيعُ الخُبزَ الطّازَجَ"],
        ["في البَيتِ القَديمِ.", "عِندَ البَحرِ، صَباحًا.", "قُربَ المَدرَسةِ؟"],
    ),
    "russian": (
        ["Маленький мальчик", "Новая учительница", "Пожилой врач", "Наша добрая соседка"],
        [
            "читает длинную книгу",
            "пьёт горячий кофе",
            "пишет короткое письмо",
            "продаёт свежий хлеб",
        ],
        ["в старом доме.", "у моря, по утрам.", "рядом со школой?"],
    ),
}


def sentences(language):
    who, what, where = PARTS[language]
    return [f"{a} {b} {c}" for a in who for b in what for c in where]


def pairs(language):
    """Graded by how many of the three parts are shared."""
    draw, (who, what, where) = random.Random(0), PARTS[language]
    rows = []
    for _ in range(24):
        first, second = ([draw.choice(part) for part in (who, what, where)] for _ in range(2))
        kept = draw.randint(0, 3)
        second = first[:kept] + second[kept:]
        same = sum(a == b for a, b in zip(first, second, strict=True))
        rows.append({"sentence1": " ".join(first), "sentence2": " ".join(second), "score": same})
    return rows


def multilingual_model(folder, texts, size):
    """A tiny XLM-R with a Unigram tokenizer trained on the texts, as SentencePiece would."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = list(SPECIAL.values())
    trainer = trainers.UnigramTrainer(
        vocab_size=size, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **SPECIAL)
    config = tiny_config("xlm-roberta")
    config.vocab_size = len(fast)
    AutoModel.from_config(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return str(folder)


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return str(path)


def mirror(model, data, dev, output, **settings):
    train(
        "mirror-bert", model=model, data=data, dev=dev, output=output,
        settings={"pooling": "mean", "log_every": 1, "learning_rate": 1e-3, **settings},
        console=Console(file=io.StringIO()),
    )  # fmt: skip
    log = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in log if "loss" in line]


def check_run(output, dev, texts, losses):
    """What was left loads, embeds every text, and scores what the run said."""
    assert all(map(math.isfinite, losses))
    encoder = Encoder.from_pretrained(output)
    vectors = encoder.encode(texts, precision="float32")
    assert np.isfinite(vectors).all()
    assert len(np.unique(vectors.round(5), axis=0)) == len(set(texts))  # every word is known
    said = json.loads((output / "scores.json").read_text())["best"]
    assert load_dev(dev)(encoder) == pytest.approx(said, abs=1e-3)


@pytest.mark.parametrize("language", PARTS)
def test_a_mirror_run_of_another_script_trains_encodes_and_scores(language, tmp_path):
    texts = sentences(language)
    model = multilingual_model(tmp_path / "model", texts, 120)
    data, dev = tmp_path / "sentences.txt", write(tmp_path / "dev.jsonl", pairs(language))
    data.write_text("\n".join(texts) + "\n", "utf-8")
    output = tmp_path / "run"
    losses = mirror(model, str(data), dev, output, batch_size=16, steps=4, evaluate_every=2)
    assert len(losses) == 4
    check_run(output, dev, texts, losses)


@pytest.mark.parametrize("language", PARTS)
def test_a_span_is_masked_in_code_points_whatever_the_direction_of_the_script(language):
    mask = SpanMask(5, "<mask>")
    for text in sentences(language):
        assert len(text) >= mask.min_characters
        for seed in range(5):
            before, after = mask(text, random.Random(seed)).split(" <mask> ")
            assert text.startswith(before)
            assert text.endswith(after)
            assert len(before) + 5 + len(after) == len(
                text
            )  # in the order of the text, not as it is shown


def test_the_mask_of_an_arabic_sentence_is_one_token(tmp_path):
    texts = sentences("arabic")
    tokenizer = Encoder.from_pretrained(multilingual_model(tmp_path, texts, 120)).tokenizer
    masked = SpanMask(5, tokenizer.mask_token)(texts[0], random.Random(0))
    ids = tokenizer(masked)["input_ids"]
    assert ids.count(tokenizer.mask_token_id) == 1
    assert tokenizer.unk_token_id not in ids


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "corpus").exists(), reason="TEXTCL_DATA names no folder with it")
@pytest.mark.parametrize("language", ["ar", "ru"])
def test_ten_thousand_real_sentences_train_encode_and_score(language, tmp_path):
    data = SHARED / "corpus" / f"{language}_wikimatrix_10k.txt"
    texts = data.read_text("utf-8").splitlines()
    model = multilingual_model(tmp_path / "model", texts, 4000)
    made_up = {"ar": "arabic", "ru": "russian"}[language]
    dev = write(tmp_path / "dev.jsonl", pairs(made_up))
    output = tmp_path / "run"
    losses = mirror(model, str(data), dev, output, batch_size=100, steps=60, evaluate_every=30)
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    check_run(output, dev, texts[:200], losses)
