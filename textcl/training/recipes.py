"""Recipes: find, load and configure them.

A recipe is a Python file with a method section as its docstring, `ROLES` (the columns it trains on), `Settings` (a
frozen dataclass of every number), `build(settings, world) -> Method`, where a paper has several backbones
`PRESETS` (model name to the settings that differ), and `ROWS` where its columns do not say what a row is: "words".
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType

from textcl.distributed import World
from textcl.errors import UserError
from textcl.method.method import Method
from textcl.resources import recipes_dir
from textcl.training.settings import TrainSettings, from_mapping, parse_overrides, with_values


@dataclass(frozen=True)
class Recipe:
    """A loaded recipe.

    Args:
        name: As on the command line, e.g. "unsup-simcse".
        path: Its file.
        doc: Its method section.
        roles: Columns it trains on.
        settings_type: Its settings.
        presets: Settings that differ for some models.
        build: From settings to a method.
        rows: What its rows are, such as "words", where `roles` leaves it open; "" otherwise.
    """

    name: str
    path: Path
    doc: str
    roles: tuple[str, ...]
    settings_type: type[TrainSettings]
    presets: Mapping[str, Mapping[str, object]]
    build: Callable[[TrainSettings, World], Method]
    rows: str = ""

    @property
    def sha256(self) -> str | None:
        """Hash of the file, for a recipe that does not come with textcl."""
        own = self.path.resolve().parent == recipes_dir().resolve()
        return None if own else _hash(self.path)

    @property
    def summary(self) -> str:
        """First line of the method section."""
        return self.doc.strip().splitlines()[0]

    def settings(
        self,
        model: str | Path | None = None,
        overrides: Sequence[str] | Mapping[str, object] = (),
    ) -> TrainSettings:
        """The recipe's settings for a model, with some replaced.

        Args:
            model: Model to start from, as the setting of that name; the recipe's own when None.
            overrides: `key=value` texts as the command line takes them, or values by key.

        Raises:
            UserError: For unknown keys and values that a setting does not take.
        """
        settings = self.settings_type()
        if not isinstance(overrides, Mapping):
            overrides = parse_overrides(self.settings_type, overrides)
        changes = {**({} if model is None else {"model": model}), **overrides}
        named = with_values(settings, changes)
        return with_values(settings, {**self.presets.get(_bare(named.model), {}), **changes})

    def preset_line(self, settings: TrainSettings) -> str:
        """What follows from the name of the model, which a copy under another name would not get; "" for no preset.

        Args:
            settings: Of a run.
        """
        name = _bare(settings.model)
        if preset := self.presets.get(name):
            kept = [
                f"{key}={value}" for key, value in preset.items() if getattr(settings, key) == value
            ]
            return f"{', '.join(kept)}: the preset of {name}" if kept else ""
        own = self.settings_type().model
        if not self.presets or settings.model == own:
            return ""
        return f"those for {own}: there is no preset for {name}, only for {', '.join(self.presets)}"

    def settings_again(self, saved: Mapping[str, object]) -> TrainSettings:
        """The settings of a run that goes on.

        Args:
            saved: All of them, as its folder holds them.

        Raises:
            UserError: If the recipe has no such setting, or one takes no such value.
        """
        # runs of before these were settings trained without a prompt, and read what they trained on
        older = {"prompt": "", "reading_length": saved.get("max_length")}
        return from_mapping(self.settings_type, {**older, **saved})


def _bare(model: str) -> str:
    return model.rstrip("/").rsplit("/", 1)[-1]


def names() -> list[str]:
    """The recipes that come with textcl."""
    files = recipes_dir().glob("[!_]*.py")
    return sorted(path.stem.replace("_", "-") for path in files)


def find(name: str) -> Recipe:
    """A recipe by name, or from a file that ends in .py, which is executed.

    Raises:
        UserError: If there is none of that name, or the file lacks a part of a recipe.
    """
    if name.endswith(".py"):
        path = Path(name)
        if not path.is_file():
            raise UserError(f"recipe file {name} does not exist")
    else:
        path = recipes_dir() / f"{name.replace('-', '_')}.py"
        if name.replace("_", "-") not in names():
            near = get_close_matches(name, names(), n=3, cutoff=0.5)
            hint = (
                f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names())}"
            )
            raise UserError(f"unknown recipe {name!r}; {hint}")
    module = _load(path)
    missing = [part for part in ("ROLES", "Settings", "build") if not hasattr(module, part)]
    if missing or not module.__doc__:
        raise UserError(f"recipe {path} lacks {', '.join(missing or ['a docstring'])}")
    return Recipe(
        name=path.stem.replace("_", "-"),
        path=path,
        doc=module.__doc__,
        roles=tuple(module.ROLES),
        settings_type=module.Settings,
        presets=getattr(module, "PRESETS", {}),
        build=module.build,
        rows=getattr(module, "ROWS", ""),
    )


def find_again(name: str, sha256: str | None, given: str | Path | None, folder: Path) -> Recipe:
    """The recipe of a run that goes on.

    A run folder is data that people pass around: a recipe is found by its name alone, and a file that the folder names
    is never executed. For a run with a recipe of its own the user names the file again.

    Args:
        name: What settings.json holds: a name, or the file it once was.
        sha256: Hash of that file; None for a recipe that comes with textcl, and in old folders.
        given: The file, as the user names it now.
        folder: The run.

    Raises:
        UserError: If a file is needed and not given, given and not needed, or another than then.
    """
    if not name.endswith(".py"):
        if given is not None and str(given) != name:
            raise UserError(f"the run in {folder} has the recipe {name}: leave --recipe out")
        return find(name)
    if given is None:
        raise UserError(
            f"the run in {folder} was trained with a recipe file of its own ({Path(name).name}), and files that a run "
            f"folder names are not executed: name it yourself with textcl train --resume {folder} --recipe FILE.py"
        )
    if not str(given).endswith(".py"):
        raise UserError(
            f"--recipe {given}: the run in {folder} needs the file of its recipe, FILE.py"
        )
    check_hash(str(given), sha256, f"the run in {folder}")
    return find(str(given))


def check_hash(file: str, sha256: str | None, where: str) -> None:
    """Refuse another file than the one that was used, before it is executed.

    Args:
        file: A recipe.
        sha256: Hash of the file that was used; None where it is not known.
        where: What used it, for the message.

    Raises:
        UserError: If the hash is another.
    """
    path = Path(file)
    if sha256 is not None and path.is_file() and (actual := _hash(path)) != sha256:
        raise UserError(
            f"{file} is not the recipe of {where}: its sha256 is {actual[:12]}, not {sha256[:12]}; "
            "name the original file, or start a new run"
        )


def copy(name: str, target: Path) -> Path:
    """Copy a recipe's file to change it.

    Raises:
        UserError: If the target exists.
    """
    source = find(name).path
    target = target / source.name if target.is_dir() else target
    if target.exists():
        raise UserError(f"{target} exists already: choose another name")
    shutil.copyfile(source, target)
    return target


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _load(path: Path) -> ModuleType:
    name = f"textcl_recipe_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up by name
    spec.loader.exec_module(module)
    return module
