"""`python -m models.card`: writes the zoo's README.md from the tables beside the weights."""

from __future__ import annotations

import json
import sys
from typing import Any

from probe.errors import ProbeError
from probe.storage.files import write_atomically

from . import zoo
from .recipes import RECIPES, Recipe
from .tasks import TEMPLATE

BAR = 0.01
ABOUT = f"""\
# The zoo: trained networks to take apart

Written by `python -m models.card` from the tables beside the weights.

`RECIPE.safetensors` holds the weights of all networks of a recipe, stacked along a first axis; `seed` says which is
which. `RECIPE.json` holds the recipe, and for each network its errors and the SHA-256 of its weights and of its
split into training and test strings. The split itself is drawn again from the seed. None was left out or replaced:
the seeds stand in `models/populations.py`, fixed before the networks were trained.

    python -m models.packing unpack counter 0 DIR    # one network as a folder, with the strings that it misreads

They read a string of bits one at a time and answer after the last how many ones there were; the recipe `template`
answers at how many places the string agrees with {TEMPLATE}. They are of no other use. Their answers on lengths
that they never saw are a finding, not a feature."""


def card() -> str:
    """Return the card of all recipes in the zoo, as Markdown.

    Raises:
        ProbeError: the zoo is empty, or a table is damaged.
    """
    names = sorted(path.stem for path in zoo.ZOO.glob("*.json"))
    if not names:
        raise ProbeError(
            f"{str(zoo.ZOO)!r} holds no RECIPE.json; pack trained networks into it: `python -m models.packing`."
        )
    tables = {name: zoo.read_table(name) for name in sorted(names, key=_order)}
    lines = [line for table in tables.values() for line in table["networks"].values()]
    versions = sorted({json.dumps(line["versions"]) for line in lines})
    made_by = "; ".join(
        ", ".join(f"{name} {number}" for name, number in json.loads(each).items()) for each in versions
    )
    settings = ", ".join(
        f"`{name}` {value}" for name, value in RECIPES["counter"].to_dict().items() if name != "name"
    )
    origins = [table["origin"] for table in tables.values() if "origin" in table]
    return "\n".join(
        [
            ABOUT,
            "",
            f"The recipe `counter` ([docs/science.md](../../docs/science.md), line by line): {settings}. The "
            "other recipes change of it what the table says, and nothing else.",
            "",
            f"| recipe | changed | networks | mean test error | worst | at most {BAR:.0%} |",
            "|---|---|---:|---:|---:|---:|",
            *(_row(name, table) for name, table in tables.items()),
            "",
            *(f"`tf1`: {origin}\n" for origin in origins),
            f"Made by: {made_by}.",
            "",
            "## Again",
            "",
            "    python -m models.train --population all --out build/zoo --jobs 2",
            "    python -m models.packing pack build/zoo",
            "",
            "The same machine gives the same bytes. Another processor or another version of torch adds in "
            "another order and gives other networks of the same kind.",
            "",
        ]
    )


def _order(name: str) -> tuple[bool, int]:
    """Return where a recipe stands in the table: as in `models.recipes`, TensorFlow's network last."""
    return name not in RECIPES, list(RECIPES).index(name) if name in RECIPES else 0


def _row(name: str, table: dict[str, Any]) -> str:
    errors = [line["errors"]["test"]["error"] for line in table["networks"].values()]
    low = sum(error <= BAR for error in errors)
    return (
        f"| `{name}` | {_changed(Recipe.from_dict(table['recipe']))} | {len(errors)} | "
        f"{sum(errors) / len(errors):.3%} | {max(errors):.3%} | {low} |"
    )


def _changed(plan: Recipe) -> str:
    base, own = RECIPES["counter"].to_dict(), plan.to_dict()
    return ", ".join(f"`{key}` {own[key]}" for key in own if key != "name" and own[key] != base[key]) or "nothing"


def main() -> int:
    """Write the zoo's README.md and return the exit code."""
    try:
        path = write_atomically(zoo.ZOO / "README.md", card())
    except ProbeError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"{path} {path.stat().st_size} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
