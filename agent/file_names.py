"""A file's name as text that every output can carry: a name is bytes, and on Linux not always UTF-8."""

from __future__ import annotations

import os


def shown(path: str | os.PathLike[str]) -> str:
    """The path as it is, each byte that is no UTF-8 as a backslash, x and two hexadecimal digits."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
