"""Pages from the templates of this wing; whatever is put into one is escaped."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(template: str, **values: object) -> str:
    """A page.

    Args:
        template: File in `templates`.
        values: What the template shows.
    """
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("textcl.retrieval"), autoescape=True, undefined=StrictUndefined
    )
