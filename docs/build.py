"""Builds the site of the documentation, without a network: `python docs/build.py`.

The pages of this folder are copied to `build/docs/pages`; a line `<!-- generate: NAME -->` becomes what `generate.py`
makes of the package, `<!-- include: FILE -->` a file of the repository. Links into the repository become links to its
place on the web. Zensical then builds `build/docs/site`. A warning, a link to nothing, a picture that is missing or a
page that asks another host for anything ends the build with exit code 1.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import generate

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
WEB = generate.WEB

_MARK = re.compile(r"^<!-- (generate|include): (\S+) -->$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_FROM_ELSEWHERE = re.compile(
    r'<(?:script|img|iframe|source)[^>]+src="(?:https?:)?//[^"]+"|<link[^>]+href="(?:https?:)?//[^"]+"'
)
# Pages whose text is a file at the top of the repository; links to the file are links to the page.
_PAGE_OF = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
_PICTURES = (".svg", ".png")


class DeadLinkError(Exception):
    """A link that leads nowhere, with its page."""


def stage(pages: Path) -> None:
    """Write the pages as Zensical reads them to a fresh folder.

    Raises:
        DeadLinkError: If a page links to a file that does not exist.
    """
    shutil.rmtree(pages, ignore_errors=True)
    pages.mkdir(parents=True)
    for path in sorted(DOCS.rglob("*")):
        place = pages / path.relative_to(DOCS)
        if path.is_dir() or path.suffix in (".py", ".toml", ".pyc"):
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            place.write_text(page_text(path, pages), encoding="utf-8")
        else:
            shutil.copyfile(path, place)


def page_text(path: Path, pages: Path) -> str:
    """The text of one page: links rewritten, generated and included parts in their places."""
    own = rewrite_links(path.read_text(encoding="utf-8"), path, path, pages)

    def part(mark: re.Match[str]) -> str:
        if mark[1] == "generate":
            return generate.PARTS[mark[2]]()
        file = (path.parent / mark[2]).resolve()
        text = file.read_text(encoding="utf-8").split("\n", 1)[1]  # the page has a title of its own
        return rewrite_links(text, file, path, pages)

    return _MARK.sub(part, own)


def rewrite_links(text: str, source: Path, page: Path, pages: Path) -> str:
    """Links of `source` as `page` must write them; fenced code stays as it is.

    Raises:
        DeadLinkError: If a link leads to a file that does not exist.
    """
    parts = _FENCED.split(text)
    for number in range(0, len(parts), 2):  # the others are code
        parts[number] = _LINK.sub(
            lambda link: f"]({moved(link[1], source, page, pages)})", parts[number]
        )
    return "".join(parts)


def moved(target: str, source: Path, page: Path, pages: Path) -> str:
    """The target of a link of `source`, as `page` must write it."""
    if re.match(r"[a-z]+:|#", target):
        return target
    name, hash_, anchor = target.partition("#")
    file = (source.parent / name).resolve()
    if not file.exists():
        raise DeadLinkError(f"{source.relative_to(ROOT)}: {target} does not exist")
    in_root = file.relative_to(ROOT).as_posix()
    if in_root in _PAGE_OF:
        file = DOCS / _PAGE_OF[in_root]
    if DOCS not in file.parents:
        if file.suffix not in _PICTURES:
            return f"{WEB}/{'tree' if file.is_dir() else 'blob'}/main/{in_root}{hash_}{anchor}"
        kept = pages / "pictures" / file.name
        kept.parent.mkdir(exist_ok=True)
        shutil.copyfile(file, kept)
        file = DOCS / "pictures" / file.name
    return Path(os.path.relpath(file, page.parent)).as_posix() + hash_ + anchor


def check_site(site: Path) -> list[str]:
    """Faults of the built pages: missing pictures, requests to other hosts."""
    wrong: list[str] = []
    for path in sorted(site.rglob("*.html")):
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(site).as_posix()
        if not name.startswith("reports/"):  # pages of their own, made by `textcl report`
            wrong += [f"{name} asks another host: {m[0]}" for m in _FROM_ELSEWHERE.finditer(text)]
        for picture in re.findall(r'<img[^>]+src="([^":]+)"', text):
            if not (path.parent / picture).resolve().exists():
                wrong.append(f"{name}: the picture {picture} is missing")
        if "<!-- generate:" in text or "<!-- include:" in text:
            wrong.append(f"{name}: a part was not generated")
    return wrong


def build(folder: Path) -> int:
    """Write `folder/pages` and build `folder/site` from them; 0 where nothing is wrong, else 1."""
    try:
        stage(folder / "pages")
    except DeadLinkError as error:
        print(f"docs: {error}", file=sys.stderr)
        return 1
    shutil.copyfile(DOCS / "zensical.toml", folder / "zensical.toml")
    shutil.rmtree(folder / "site", ignore_errors=True)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    done = subprocess.run(command, cwd=folder, check=False)
    wrong = check_site(folder / "site") if done.returncode == 0 else []
    for line in wrong:
        print(f"docs: {line}", file=sys.stderr)
    return 1 if done.returncode or wrong else 0


def main() -> int:
    """Build the site in `build/docs` of the checkout."""
    folder = ROOT / "build" / "docs"
    failed = build(folder)
    if not failed:
        site = (folder / "site").relative_to(ROOT)
        print(f"open {site}/index.html, or python -m http.server -d {site} where search works too")
    return failed


if __name__ == "__main__":
    sys.exit(main())
