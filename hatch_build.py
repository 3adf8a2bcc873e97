"""Makes the links of README absolute where it is uploaded: beside the page of a package index lie no files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

#: A block of code, which stays as it is, or what a link or a picture shows and the path that it leads to.
LINK = re.compile(r"^```.*?^```$|\]\((?![a-z]+:|[/#])([^)\s]+)\)", flags=re.MULTILINE | re.DOTALL)
PICTURES = (".png", ".svg", ".gif", ".jpg")


class AbsoluteLinks(MetadataHookInterface):
    """Takes the address from `[project.urls]`, and files as they are at the tag of this version."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the README of the package, which pyproject.toml therefore calls dynamic."""
        address, tag = metadata["urls"]["Repository"], f"v{metadata['version']}"

        def absolute(found: re.Match[str]) -> str:
            path = found[1]
            return f"]({address}/{'raw' if path.endswith(PICTURES) else 'blob'}/{tag}/{path})" if path else found[0]

        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": LINK.sub(absolute, text)}
