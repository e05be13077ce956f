"""A few synonyms: as a stand-in for the `wn` library, and as the LMF file that the library itself reads."""

import sys
from types import ModuleType, SimpleNamespace

MEANINGS = [
    ["dog", "domestic dog", "Canis familiaris"],
    ["cad", "hound", "dog"],
    ["big", "large", "great in size"],
    ["good", "full"],
    ["city", "town"],
]


def use_stub_wordnet(monkeypatch, name="oewn:2024"):
    """Let `import wn` give a library in which one English lexicon is installed."""

    class Error(Exception):
        pass

    class Wordnet:
        def __init__(self, lexicon, lemmatizer=None):
            if lexicon != name:
                raise Error("no such lexicon")

        def synsets(self, form):
            fitting = [words for words in MEANINGS if form in words]
            return [SimpleNamespace(lemmas=lambda words=words: words) for words in fitting]

    library, morphy = ModuleType("wn"), ModuleType("wn.morphy")
    installed = SimpleNamespace(language="en", specifier=lambda: name)
    vars(library).update(Error=Error, Wordnet=Wordnet, lexicons=lambda lexicon=None: [installed])
    vars(morphy).update(Morphy=lambda: "english")
    monkeypatch.setitem(sys.modules, "wn", library)
    monkeypatch.setitem(sys.modules, "wn.morphy", morphy)


def write_lexicon(path, name="tiny", version="1"):
    """The same synonyms as a lexicon in WN-LMF."""
    senses: dict[str, list[int]] = {}
    for place, words in enumerate(MEANINGS):
        for word in words:
            senses.setdefault(word, []).append(place)
    entries = "".join(
        f'<LexicalEntry id="{name}-e{i}"><Lemma writtenForm="{word}" partOfSpeech="n"/>'
        + "".join(f'<Sense id="{name}-e{i}-{p}" synset="{name}-s{p}"/>' for p in places)
        + "</LexicalEntry>"
        for i, (word, places) in enumerate(senses.items())
    )
    synsets = "".join(
        f'<Synset id="{name}-s{place}" ili="" partOfSpeech="n"/>' for place in range(len(MEANINGS))
    )
    path.write_text(
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<!DOCTYPE LexicalResource SYSTEM "http://globalwordnet.github.io/schemas/WN-LMF-1.0.dtd">\n'
        '<LexicalResource xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f'<Lexicon id="{name}" label="tiny" language="en" email="a@b" license="none" version="{version}">'
        f"{entries}{synsets}</Lexicon></LexicalResource>\n"
    )
    return path
