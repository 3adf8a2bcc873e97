"""A hook of the site's builder: marks for tests, thumbnails, what the command line says of itself, and who is asked.

Fences lose the marks that tests/repo/docs_blocks.py reads (`run`, `printed`, ...), which the builder does not know. A
site whose pages would load something from another host is an error.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

#: A fence that opens: its language, and its marks; a `title="..."` is the builder's own and stays.
OPENING = re.compile(r"^(```\w+)((?: (?:run|network|printed|elsewhere=\"[^\"\n]*\"))+)", flags=re.MULTILINE)
#: What a browser loads by itself; a link that a reader may follow is none of it.
LOADED = re.compile(
    r"<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\bsrc=[\"']?((?:https?:)?//[^\s\"'>]+)"
    r"|<link\b(?![^>]*\brel=[\"']?(?:canonical|next|prev)\b)[^>]*?\bhref=[\"']?((?:https?:)?//[^\s\"'>]+)"
    r"|(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\s\"')]+)"
)
NOTEBOOK = re.compile(r"\]\((?:\.\./)*(notebooks/[\w-]+\.ipynb)\)")
HELP = "<!-- the help of every command -->"
THUMBNAILS = "<!-- thumbnails -->"
#: A picture that stands alone, and its name.
PICTURE = re.compile(r"^(!\[[^\]]*\]\(\S+/(\w+)\.png\))$", flags=re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return a page's text with fences that say their language only, and help and thumbnails where they belong."""
    settings = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    markdown = in_colab(OPENING.sub(r"\1", markdown), settings["project"]["urls"]["Repository"])
    if THUMBNAILS in markdown:
        markdown = PICTURE.sub(r"\1{ #\2 }", markdown.replace(THUMBNAILS, _thumbnails(markdown)))
    return markdown.replace(HELP, _help()) if HELP in markdown else markdown


def in_colab(markdown: str, repository: str) -> str:
    """Return a page's text with a link to Colab behind each to a notebook, once the repository has an address."""
    if "OWNER" in repository:
        return markdown
    shown = repository.replace("https://github.com/", "https://colab.research.google.com/github/")
    return NOTEBOOK.sub(rf"\g<0> ([in Colab]({shown}/blob/main/docs/\1))", markdown)


def on_post_build(config: Any, **_: Any) -> None:
    """Look through the built site for what it would load from elsewhere.

    Raises:
        ValueError: a page or a style asks another host.
    """
    for file in sorted(Path(config["site_dir"]).rglob("*")):
        asked = loaded(file.read_text(encoding="utf-8")) if file.suffix in (".html", ".css") else []
        if asked:
            raise ValueError(f"{file.name} loads {', '.join(asked)}; a page of the site must ask no other host.")


def loaded(text: str) -> list[str]:
    """Return the addresses of other hosts that a page or a style makes a browser ask."""
    return ["".join(groups) for groups in LOADED.findall(text)]


def _thumbnails(markdown: str) -> str:
    tiles = ""
    for file, name, kind in re.findall(r'[("](\S+/(\w+)\.(png|html))[)"]', markdown):
        small = f'<img src="{file}" alt="" loading="lazy">'
        if kind == "html":
            small = f'<div aria-hidden="true">{(Path(__file__).parent / file).read_text(encoding="utf-8")}</div>'
        tiles += f'<a href="#{name}">{small}<span>{name.replace("_", " ")}</span></a>'
    return f'<div class="thumbnails">{tiles}</div>'


def _help() -> str:
    from probe.command_line.main import app

    names = [name for name in app if not name.startswith("-")]
    parts = [f"```text\n{_printed('--help')}\n```\n"]
    parts += [f"## {name}\n\n```text\n{_printed(name, '--help')}\n```\n" for name in names]
    return "\n".join(parts)


def _printed(*words: str) -> str:
    command = [sys.executable, "-c", "from probe.command_line.main import main; main()", *words]
    environment = os.environ | {"NO_COLOR": "1", "COLUMNS": "90"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()
