"""A parquet file that Apple's embedding-atlas opens: texts, labels, a plane, and nearest neighbours.

textcl report RUN --atlas texts.parquet
embedding-atlas texts.parquet --text text --x x --y y --neighbors neighbors
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from textcl.data.files import atomic_write
from textcl.probe.maps import has_umap, pca_map, umap_map
from textcl.probe.neighbours import distinct, nearest, unit
from textcl.probe.texts import ProbeData
from textcl.report.models import Model

NEIGHBOURS = 15


def write_atlas(model: Model, data: ProbeData, path: Path, seed: int = 0) -> str:
    """Write every distinct text with its place in the space of a model.

    Args:
        model: Its vectors are of `data`.
        data: Texts and labels.
        path: Parquet file to make or replace: text, label (where there are labels), x, y, and neighbors: the zero-based
            rows of the nearest texts, the text itself first, and their cosine distances.
        seed: Of UMAP.

    Returns:
        How the plane was made.
    """
    places = distinct(data.texts)
    units = unit(model.vectors[places])
    plane = umap_map(units, seed) if has_umap() and len(units) > 15 else pca_map(units)
    rows = np.arange(len(units))
    near, cosines = nearest(units, rows, NEIGHBOURS)
    ids = np.concatenate([rows[:, None], near], 1)
    distances = np.concatenate([np.zeros((len(units), 1)), np.clip(1 - cosines, 0, None)], 1)
    columns: dict[str, pa.Array] = {"text": pa.array([data.texts[place] for place in places])}
    if data.labels is not None:
        columns["label"] = pa.array([data.labels[place] for place in places])
    columns |= {
        "x": pa.array(plane.points[:, 0], pa.float64()),
        "y": pa.array(plane.points[:, 1], pa.float64()),
        "neighbors": pa.array(
            [
                {"ids": i, "distances": d}
                for i, d in zip(ids.tolist(), distances.tolist(), strict=True)
            ],
            pa.struct({"ids": pa.list_(pa.int64()), "distances": pa.list_(pa.float64())}),
        ),
    }
    with atomic_write(path) as file:
        parquet.write_table(pa.table(columns), file)
    return plane.how
