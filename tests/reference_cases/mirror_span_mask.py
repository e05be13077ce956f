"""Random span masking of Mirror-BERT: the drawn start is an input, the text comes back exactly."""

import random

from textcl.views.augmentations import SpanMask


class Drawn(random.Random):
    """A generator whose one draw is known; remembers from how many values it was drawn."""

    def __init__(self, value):
        super().__init__(0)
        self.value, self.upper = value, None

    def randrange(self, start, stop=None, step=1):
        self.upper = start
        return self.value


def run(case):
    mask_token = case["hyper"]["mask_token"]
    return {"items": [_mask(item, mask_token) for item in case["expected"]["items"]]}


def _mask(item, mask_token):
    """The file keeps texts and draws beside the results."""
    rng = Drawn(item["start"])
    result = SpanMask(item["mask_len"], mask_token, "official")(item["text"], rng)
    start = None if rng.upper is None else item["start"]
    given = {"text": item["text"], "mask_len": item["mask_len"]}
    return given | {"start": start, "randint_upper": rng.upper, "result": result}
