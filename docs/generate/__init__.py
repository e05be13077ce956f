"""The parts of the documentation that the package writes about itself."""

from __future__ import annotations

from collections.abc import Callable

from generate.commands import commands
from generate.methods import gains as gains
from generate.methods import parts, recipes
from generate.package import WEB as WEB
from generate.python import python
from generate.settings import settings
from generate.wings import wings

PARTS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "settings": settings,
    "python": python,
    "recipes": recipes,
    "parts": parts,
    "wings": wings,
}
