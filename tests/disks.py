"""A disk that fills up."""

import errno
import io
import os
from pathlib import Path


def fill_disk(monkeypatch, after: int) -> None:
    """Let every new file end with "no space left on device" after `after` bytes."""
    ordinary = Path.open

    class Full(io.FileIO):
        def write(self, data):
            if self.tell() + len(data) > after:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data)

    def opened(path, mode="r", *arguments, **options):
        if mode == "xb":
            return io.BufferedWriter(Full(path, mode))
        return ordinary(path, mode, *arguments, **options)

    monkeypatch.setattr(Path, "open", opened)
