"""Folders of vectors in which nothing is left to do, told from their manifest without a model or torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from textcl.data.json_files import read_as
from textcl.encoder.vector_folder import MANIFEST_FILE, Manifest, Share, VectorFolder, VectorJob


def finished_manifest(path: Path, job: VectorJob, share: Share) -> Manifest | None:
    """The manifest of a share whose rows all have their vectors, once its shards are checked.

    Args:
        path: The folder.
        job: What the vectors are. Without a precision it takes that of the folder, for nothing is left to compute.
        share: The shards that are asked for.

    Returns:
        The manifest; None where rows are left, or the folder holds other vectors.

    Raises:
        UserError: If a shard is gone or changed, or the manifest is damaged.
    """
    for name in (MANIFEST_FILE, share.manifest):
        if not (path / name).is_file():
            continue
        manifest = read_as(path / name, Manifest)
        asked = replace(job, precision=job.precision or manifest.job.precision)
        if manifest.complete and manifest.job == asked:
            folder = VectorFolder(path, manifest)
            for shard in manifest.shards:
                folder.check(shard)
            return manifest
    return None
