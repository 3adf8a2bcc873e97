"""Says what stands between a tag and its release: `python .ci/release.py v0.1.0`. It needs Python alone."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path


def obstacles(folder: Path, tag: str) -> list[str]:
    """Return a sentence for each thing that a person has to do first in a checkout; none allows the release."""
    names = ("pyproject.toml", "probe/__init__.py", "CHANGELOG.md", "CITATION.cff", "README.md", "docs/index.md")
    settings, module, changes, citation, *pages = ((folder / name).read_text(encoding="utf-8") for name in names)
    addresses = tomllib.loads(settings)["project"]["urls"]
    version = re.findall(r'^__version__ = "(.+)"$', module, flags=re.MULTILINE)[0]
    heading = re.search(rf"^## {re.escape(version)} \((\d{{4}}-\d\d-\d\d)\)$", changes, flags=re.MULTILINE)
    date = heading[1] if heading else "YYYY-MM-DD"
    wanted = (f"version: {version}", f"date-released: {date}", f"repository-code: {addresses['Repository']}")
    told = ["pip install rnn-probe" in page and "not in a package index" not in page for page in pages]
    lacking = [line for line in wanted if line not in citation.splitlines()]
    done = {
        "pyproject.toml: put the owner of the repository in the place of OWNER in [project.urls].": "OWNER"
        not in str(addresses),
        f"The tag is {tag}, and the version of probe/__init__.py is {version}: tag v{version}.": tag == f"v{version}",
        f"CHANGELOG.md: give {version} the date of its release: ## {version} (YYYY-MM-DD).": heading is not None,
        f"CITATION.cff: add the lines {', '.join(lacking)}.": not lacking,
    } | {
        f"{page}: say `pip install rnn-probe`, and no more that it is not in a package index.": done
        for page, done in zip(names[-2:], told, strict=True)
    }
    return [sentence for sentence, holds in done.items() if not holds]


if __name__ == "__main__":
    if found := obstacles(Path(__file__).resolve().parents[1], sys.argv[1]):
        sys.exit("\n".join(found))
    sys.stdout.write(f"{sys.argv[1]} can be released.\n")
