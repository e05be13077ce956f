"""Pages from templates that share one base and one style; everything that is put into one is escaped."""

from __future__ import annotations

from functools import cache

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined


def render(wing: str, template: str, **values: object) -> str:
    """A page.

    Args:
        wing: Package in whose folder `templates` it lies; those of this wing can be included and extended.
        template: Its file.
        values: What it shows. Only `markupsafe.Markup` is left as it is.
    """
    return _environment(wing).get_template(template).render(values)


@cache
def _environment(wing: str) -> Environment:
    return Environment(
        loader=ChoiceLoader([PackageLoader(wing), PackageLoader("textcl.figures")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
