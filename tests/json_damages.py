"""What may become of a JSON file that is passed around: every key gone, and every value another."""

import copy

ODD = (None, True, 0, -1, 10**18, 1e30, "", "..", "text", [], [5], {}, {"a": []})


def damages(whole, every=1):
    """(where, content) for each damage of one key or item, or every so many; of a list its first item alone."""
    for number, place in enumerate(_places(whole, ())):
        for odd in (..., *ODD)[number % every :: every]:
            content = copy.deepcopy(whole)
            inner = content
            for key in place[:-1]:
                inner = inner[key]
            if odd is ...:
                del inner[place[-1]]
            else:
                inner[place[-1]] = copy.deepcopy(odd)
            yield f"{'.'.join(map(str, place))} = {'(missing)' if odd is ... else odd!r}", content


def _places(value, place):
    firsts = list(enumerate(value[:1])) if isinstance(value, list) else []
    inner = value.items() if isinstance(value, dict) else firsts
    for key, item in inner:
        yield (*place, key)
        yield from _places(item, (*place, key))
