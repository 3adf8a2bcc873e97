"""Write the card of the committed networks: `python -m models.card`. Every number comes from a config."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from probe.errors import ProbeError
from probe.files import write_atomically

from .checkpoints import load_config
from .recipes import RECIPES, Recipe
from .tasks import TEMPLATE
from .zoo import ZOO

BAR = 0.01
#: What each question asks, as the card says it.
ASKED = {"ones": "how many ones there were", "template": f"at how many places they were those of {TEMPLATE}"}


def card(configs: list[dict[str, Any]]) -> str:
    """Return the card as Markdown.

    Args:
        configs: of networks of one recipe, in the order of their seeds; at least one.
    """
    recipe, plan = configs[0]["recipe"], Recipe.from_dict(configs[0]["recipe"])
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
            f"Written by `python -m models.card` from the `config.json` of each. {_number(len(configs))}, "
            "one a seed, as they came: none was left out or replaced.",
            "",
            *(part for config in configs if "origin" in config for part in (config["origin"], "")),
            f"What they do: read a string of bits one at a time and answer, after the last, {ASKED[plan.question]}. "
            f"What they are for: to be taken apart; they are of no other use. {_lengths(plan)}",
            "",
            *_changed(plan),
            f"Recipe (docs/science.md, line by line): {settings}. Made by: {made_by}.",
            "",
            f"Mean test error: {sum(test) / len(test):.3%}. "
            f"Below {BAR:.1%}: {low} of {len(test)}. Worst: {max(test):.3%}.",
            "",
            f"Labels never trained: the {'counts' if plan.question == 'ones' else 'labels'} 0 and "
            f"{recipe['length']} have one string each; where the split put it into the test, no training "
            "could show its label, and the floor is the error that remains."
            + (" A string that is cut shows the label of its beginning." if plan.truncated else ""),
            "",
            *_table(configs),
            "",
            "## Again",
            "",
            *_again(configs),
            "",
        ]
    )


def _number(count: int) -> str:
    return f"{count} networks" if count > 1 else "1 network"


def _lengths(plan: Recipe) -> str:
    if plan.truncated:
        return f"They saw the lengths 1 to {plan.length}; their answers on others are a finding, not a feature."
    if plan.shorter:
        return (
            f"Of their {plan.train_size} training strings {plan.shorter} have {plan.length - 1} bits, the others "
            f"{plan.length}; their answers on other lengths are a finding, not a feature."
        )
    return f"They saw one length ({plan.length}); their answers on other lengths are a finding, not a feature."


def _changed(plan: Recipe) -> list[str]:
    """Return a paragraph on what differs from the recipe `counter`, nothing where nothing does."""
    base, own = RECIPES["counter"].to_dict(), plan.to_dict()
    differing = [name for name in own if name != "name" and own[name] != base[name]]
    changed = [f"`{name}` {own[name]} (there {base[name]})" for name in differing]
    return [f"Changed from the recipe `counter`: {', '.join(changed)}; nothing else.", ""] if changed else []


def _again(configs: list[dict[str, Any]]) -> list[str]:
    if "origin" in configs[0]:
        return [
            "    python -m models.import_tf1 tests/data/tf1-counter models/zoo/tf1/seed-0",
            "",
            "writes the same bytes on any machine; the training was TensorFlow's.",
        ]
    name = configs[0]["recipe"]["name"]
    return [
        *(
            f"    python -m models.train --recipe {name} --seeds {first}:{end} --out build/models/{name}"
            for first, end in _ranges([config["seed"] for config in configs])
        ),
        "",
        "The same machine gives the same bytes; another processor or another version of torch adds in "
        "another order and gives other networks of the same kind.",
    ]


def _ranges(seeds: list[int]) -> list[tuple[int, int]]:
    """Return rising seeds as ranges without a gap: the first seed of each, and the one after its last."""
    firsts = [seed for seed in seeds if seed - 1 not in seeds]
    ends = [seed + 1 for seed in seeds if seed + 1 not in seeds]
    return list(zip(firsts, ends, strict=True))


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
