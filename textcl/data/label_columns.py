"""Several label columns of a data set, `--column label=topic,tone`: a role for each of them, such as "label:topic"."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from textcl.errors import UserError

_PREFIX = "label:"


def is_label_column(role: str) -> bool:
    """Whether a role is one of several label columns."""
    return role.startswith(_PREFIX)


def column_role(name: str) -> str:
    """The role of one of several label columns."""
    return f"{_PREFIX}{name}"


def label_columns(roles: Sequence[str]) -> tuple[str, ...]:
    """Names of the label columns among some roles; none where rows have one label, or a list of them."""
    return tuple(role.removeprefix(_PREFIX) for role in roles if is_label_column(role))


def named_columns(text: str) -> tuple[str, ...]:
    """The names in `topic,tone`.

    Raises:
        UserError: If one is empty, or named twice.
    """
    names = tuple(name.strip() for name in text.split(","))
    if "" in names or len(set(names)) < len(names):
        raise UserError(
            f"--column label={text}: several label columns are different names with commas between, such as "
            "label=topic,tone"
        )
    return names


def with_label_columns(
    roles: Sequence[str], columns: Mapping[str, str], available: Collection[str]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Roles and columns in which `label=topic,tone` is a role for each of the columns.

    Args:
        roles: Those of the rows, with "label" or "labels" among them.
        columns: The user's choices: role to column name.
        available: Columns of the data, one of which may have a comma in its name.

    Raises:
        UserError: If names are missing, or columns that hold several labels each are named.
    """
    chosen = {role: columns.get(role, "") for role in ("label", "labels") if role in roles}
    several = [role for role, name in chosen.items() if "," in name and name not in available]
    if not several:
        return tuple(roles), dict(columns)
    if several == ["labels"]:
        raise UserError(
            f"--column labels={columns['labels']}: of several label columns each holds one label a row: name them "
            f"with --column label={columns['labels']}"
        )
    return split_label(roles, columns, named_columns(columns["label"]))


def split_label(
    roles: Sequence[str], columns: Mapping[str, str], names: Sequence[str]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The same, for label columns that are known, such as those of a classifier.

    Args:
        roles: Those of the rows, with "label" among them.
        columns: The user's choices; for "label" the columns in the order of `names`, where they have other names.
        names: What the label columns are called.

    Raises:
        UserError: If the user names another number of columns.
    """
    given = named_columns(columns["label"]) if "label" in columns else tuple(names)
    if len(given) != len(names):
        raise UserError(
            f"--column label={columns['label']}: expected {len(names)} columns, which hold {', '.join(names)} in this "
            "order"
        )
    own = {column_role(name): column for name, column in zip(names, given, strict=True)}
    rest = {role: name for role, name in columns.items() if role != "label"}
    place = list(roles).index("label")
    return (*roles[:place], *own, *roles[place + 1 :]), {**rest, **own}
