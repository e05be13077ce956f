"""Training on stored vectors of a teacher: how long they are is found in the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated

from textcl.errors import UserError
from textcl.training.domains import Domain
from textcl.training.request import RowRequest
from textcl.training.settings import TrainSettings
from textcl.training.supervision import DevChoice, Pairs, find_dev, supervise


@dataclass(frozen=True)
class VectorSettings(TrainSettings):
    """Settings of training an encoder on texts with stored vectors.

    Args:
        vector_size: Numbers of a vector; found in the data.
    """

    vector_size: Annotated[int, Domain(at_least=0)] = 0


@supervise.register(VectorSettings)
def _(
    settings: VectorSettings,
    request: RowRequest,
    dev: DevChoice,
    log: Callable[[str], object],
) -> Pairs:
    rows = request.rows()
    size = 0
    for start in range(0, len(rows), 1000):
        block = rows.column("vector", range(start, min(start + 1000, len(rows))))
        size = size or len(block[0])
        for number, vector in enumerate(block, start + 1):
            if len(vector) != size:
                raise UserError(
                    f"{rows.report.source}, usable row {number}: the vector has {len(vector)} numbers, those before it "
                    f"{size}"
                )
    settings = replace(settings, vector_size=size)
    return Pairs(settings, rows, None if dev == "none" else find_dev(settings, dev, log))
