"""Write the card of the committed networks: `python -m models.card`. Every number comes from a config."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from probe.errors import ProbeError
from probe.files import write_atomically

from .checkpoints import load_config
from .zoo import ZOO

BAR = 0.01


def card(configs: list[dict[str, Any]]) -> str:
    """Return the card as Markdown.

    Args:
        configs: of networks of one recipe, in the order of their seeds; at least one.
    """
    recipe = configs[0]["recipe"]
    test = [config["errors"]["test"]["error"] for config in configs]
    settings = ", ".join(f"`{name}` {value}" for name, value in recipe.items() if name != "name")
    low = sum(error < BAR for error in test)
    versions = sorted({json.dumps(config["versions"]) for config in configs})
    made_by = "; ".join(
        ", ".join(f"{name} {number}" for name, number in json.loads(each).items()) for each in versions
    )
    return "\n".join(
        [
            f"# Networks trained by the recipe `{recipe['name']}`",
            "",
            f"Written by `python -m models.card` from the `config.json` of each. {len(configs)} networks, "
            "one a seed, as they came: none was left out or replaced.",
            "",
            "What they do: read a string of bits one at a time and answer, after the last, how many ones "
            "there were. What they are for: to be taken apart; they are of no other use. They saw one length "
            f"({recipe['length']}); their answers on other lengths are a finding, not a feature.",
            "",
            f"Recipe (docs/science.md, line by line): {settings}. Made by: {made_by}.",
            "",
            f"Mean test error: {sum(test) / len(test):.3%}. "
            f"Below {BAR:.1%}: {low} of {len(test)}. Worst: {max(test):.3%}.",
            "",
            "Labels never trained: the counts 0 and "
            f"{recipe['length']} have one string each; where the split put it into the test, no training "
            "could show its label, and the floor is the error that remains.",
            "",
            *_table(configs),
            "",
            "## Again",
            "",
            f"    python -m models.train --recipe {recipe['name']} "
            f"--seeds {configs[0]['seed']}:{configs[-1]['seed'] + 1} --out build/models/{recipe['name']}",
            "",
            "The same machine gives the same bytes; another processor or another version of torch adds in "
            "another order and gives other networks of the same kind.",
            "",
        ]
    )


def _table(configs: list[dict[str, Any]]) -> list[str]:
    rows = [
        "| seed | test error | misread of test | misread of all | labels never trained | floor (test) "
        "| misread strings (answer) |",
        "|---|---|---|---|---|---|---|",
    ]
    for config in configs:
        test, everything = config["errors"]["test"], config["errors"]["all"]
        labels = ", ".join(map(str, config["floor"]["labels_never_trained"])) or "none"
        strings = ", ".join(f"`{one['string']}` ({one['answer']})" for one in config["misread"]) or "none"
        rows.append(
            f"| {config['seed']} | {test['error']:.3%} | {test['misread']} of {test['strings']} "
            f"| {everything['misread']} of {everything['strings']} | {labels} "
            f"| {config['floor']['test']['error']:.3%} | {strings} |"
        )
    return rows


def read_configs(folder: Path) -> list[dict[str, Any]]:
    """Return the configs of a folder's networks in the order of their seeds.

    Raises:
        ProbeError: there is none, or one is damaged.
    """
    configs = [load_config(path.parent) for path in folder.glob("seed-*/config.json")]
    if not configs:
        raise ProbeError(f"{str(folder)!r} holds no seed-N/config.json; train networks into it first.")
    return sorted(configs, key=lambda config: config["seed"])


def main() -> int:
    """Write the card of every recipe in the zoo and return the exit code."""
    try:
        for folder in sorted(path for path in ZOO.iterdir() if path.is_dir()):
            path = write_atomically(folder / "README.md", card(read_configs(folder)))
            sys.stdout.write(f"{path} {path.stat().st_size} bytes\n")
    except ProbeError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
