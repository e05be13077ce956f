"""Views of a row: a column of it, changed by augmentations.

Every draw comes from a generator that depends on (seed, epoch, row, slot) alone, so that neither the number of
workers nor the number of processes can change what a run sees.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import cast

from textcl.errors import UserError
from textcl.types import Tokens

Augmentation = Callable[[str, random.Random], str]
"""A pure function of a text and the draws; it never makes an empty text of one that was not."""

TokenChange = Callable[[Tokens, Sequence[random.Random]], Tokens]
"""A pure function of rows of tokens and the draws, one generator for each row; ids and lengths stay as they are."""


def draw_generator(seed: int, epoch: int, row: int, slot: str) -> random.Random:
    """The generator of one draw.

    Args:
        seed: Seed of the run.
        epoch: Passes over the data so far; 0 for what is drawn once and for all.
        row: Index of the row in the data set.
        slot: What draws, such as the name of a view.

    Returns:
        A fresh generator: equal arguments give equal draws, on every machine.
    """
    name = f"{seed}\0{epoch}\0{row}\0{slot}".encode()
    return random.Random(int.from_bytes(blake2b(name, digest_size=16).digest(), "little"))


@dataclass(frozen=True)
class View:
    """One text of a row.

    Args:
        column: Column (by role) that holds the text.
        augmentations: Applied in order, all from the same generator.
        changes: Applied in order to the tokens of the text, such as `CutTokens`, with draws of their own.
        once: Draw the same change in every epoch, as static pairs that are made before training.
        prompt: Name of the encoder's prompt that is put in front; its default when None, "" for none.
        max_length: Most tokens of the text; the length of training when None.
        identity: Column (by role) whose value says which texts are one and the same; the text itself when None.
    """

    column: str
    augmentations: tuple[Augmentation, ...] = ()
    changes: tuple[TokenChange, ...] = ()
    once: bool = False
    prompt: str | None = None
    max_length: int | None = None
    identity: str | None = None

    @property
    def draws(self) -> bool:
        """Whether its text changes from one epoch to the next."""
        return bool(self.augmentations)

    def __call__(self, row: Mapping[str, object], rng: random.Random) -> str:
        """The text of `row`, changed by draws from `rng`."""
        text = self._raw(row)
        for augment in self.augmentations:
            text = augment(text, rng)
        return text

    def draw(self, row: Mapping[str, object], seed: int, epoch: int, index: int, slot: str) -> str:
        """The text of `row` number `index`, changed by the draws of (seed, epoch, index, slot).

        Args:
            row: Columns of the row.
            seed: Seed of the run.
            epoch: Passes over the data so far; without effect if the view draws once.
            index: Index of the row in the data set.
            slot: Name of the view.

        Returns:
            What `self(row, draw_generator(...))` returns; no generator is made where nothing draws.
        """
        if not self.draws:
            return self._raw(row)
        return self(row, draw_generator(seed, 0 if self.once else epoch, index, slot))

    def place_in(self, row: Mapping[str, object], seed: int, epoch: int, index: int) -> int:
        """Place of the text among those of the column in `row`; −1 where there is no text. See `draw`."""
        return 0

    def identify(
        self, row: Mapping[str, object], seed: int, epoch: int, index: int, slot: str
    ) -> str:
        """Key that identifies the text of `row` before augmentations; "" where there is no text. See `draw`."""
        return str(row[self.identity or self.column])

    def change(
        self, tokens: Tokens, seed: int, epoch: int, indices: Sequence[int], slot: str
    ) -> Tokens:
        """The tokens of some rows, changed by the draws of (seed, epoch, index, slot) of each.

        Args:
            tokens: Tokens of the texts that `draw` gave.
            seed: Seed of the run.
            epoch: Passes over the data so far; without effect if the view draws once.
            indices: Index of each row in the data set.
            slot: Name of the view.
        """
        if not self.changes:
            return tokens
        epoch = 0 if self.once else epoch
        rngs = [draw_generator(seed, epoch, index, f"{slot} tokens") for index in indices]
        for change in self.changes:
            tokens = change(tokens, rngs)
        return tokens

    def _raw(self, row: Mapping[str, object]) -> str:
        text = row.get(self.column)
        if isinstance(text, str):
            return text
        if self.column in row:
            raise UserError(
                f"Column {self.column!r} must hold text for a view, but has {text!r}: "
                "choose a text column, or drop the rows without text."
            )
        raise UserError(
            f"A view reads column {self.column!r}, but the rows have {', '.join(map(repr, row))}: "
            "map a column of the data to that role."
        )


@dataclass(frozen=True)
class ListView(View):
    """One text of a list of them.

    Args:
        place: Which one, from 0; "" where the list is shorter. None draws one of them an epoch, the same one for all
            views of the column.
    """

    place: int | None = None

    @property
    def draws(self) -> bool:
        """Whether its text changes from one epoch to the next."""
        return self.place is None or bool(self.augmentations)

    def __call__(self, row: Mapping[str, object], rng: random.Random) -> str:
        """The text of `row`, chosen and changed by draws from `rng`."""
        text = self._item(self.column, row, rng)
        for augment in self.augmentations if text else ():
            text = augment(text, rng)
        return text

    def draw(self, row: Mapping[str, object], seed: int, epoch: int, index: int, slot: str) -> str:
        """The text of `row` number `index`; see `View.draw`."""
        return super().draw(row, seed, epoch, index, self.column)

    def place_in(self, row: Mapping[str, object], seed: int, epoch: int, index: int) -> int:
        """Place of the text in the list of `row`; −1 where the list is shorter."""
        length = len(cast("Sequence[str]", row[self.column]))
        if self.place is None:
            return self._generator(seed, epoch, index).randrange(length)
        return self.place if self.place < length else -1

    def identify(
        self, row: Mapping[str, object], seed: int, epoch: int, index: int, slot: str
    ) -> str:
        """Key that identifies the text of `row`; "" where there is no text."""
        rng = self._generator(seed, epoch, index)
        return self._item(self.identity or self.column, row, rng)

    def _generator(self, seed: int, epoch: int, index: int) -> random.Random:
        return draw_generator(seed, 0 if self.once else epoch, index, self.column)

    def _raw(self, row: Mapping[str, object]) -> str:
        texts = cast("Sequence[str]", row[self.column])
        assert self.place is not None
        return texts[self.place] if self.place < len(texts) else ""

    def _item(self, column: str, row: Mapping[str, object], rng: random.Random) -> str:
        """Item of one of the lists of a row, at the place of the view or at the one drawn for it."""
        values = cast("Sequence[str]", row[column])
        texts = cast("Sequence[str]", row[self.column])
        place = rng.randrange(len(texts)) if self.place is None else self.place
        return values[place] if place < len(values) else ""
