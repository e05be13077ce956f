"""WordNet files as tests write them."""

LICENCE = "  1 This text stands above the words, as in the real files.  \n"
MEANINGS = {
    "noun": [
        ["dog", "domestic_dog", "Canis_familiaris"],
        ["cad", "hound", "dog"],
        ["man", "adult_male"],
    ],
    "verb": [["chase", "dog", "go_after"], ["run", "scat"], ["play"]],
    "adj": [["well-known", "long-familiar"], ["good", "full"], ["awake(p)", "alert(p)"]],
    "adv": [["well", "good"]],
}
EXCEPTIONS = {"noun": "men man\n", "verb": "ran run\n", "adj": "better good well\n"}


def write_database(folder, meanings=MEANINGS):
    """A WordNet database as wndb(5WN) describes it, without pointers and glosses."""
    for part, synsets in meanings.items():
        data, offsets = LICENCE, {}
        for synset in synsets:
            for word in synset:
                offsets.setdefault(word.partition("(")[0].lower(), []).append(f"{len(data):08d}")
            words = " ".join(f"{word} 0" for word in synset)
            data += f"{len(data):08d} 03 {part[0]} {len(synset):02x} {words} 000 | gloss; \n"
        index = LICENCE
        for word, places in sorted(offsets.items()):
            count = len(places)
            index += f"{word} {part[0]} {count} 1 @ {count} 0 {' '.join(places)}  \n"
        (folder / f"data.{part}").write_text(data)
        (folder / f"index.{part}").write_text(index)
    for part, lines in EXCEPTIONS.items():
        (folder / f"{part}.exc").write_text(lines)
    return folder
