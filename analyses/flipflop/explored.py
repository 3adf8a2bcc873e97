"""The networks that the flip-flop's page runs in the browser, and what its reader may try with them."""

from __future__ import annotations

from analyses.flipflop.study import CALLED, NAMES
from models.flipflop import stored
from models.flipflop.training import RECIPES
from probe.explorer import Explorer, ExplorerEdit, ExplorerExperiment, ExplorerNetwork
from probe.report import Section, Text

#: What a letter stands for: a pulse on one channel, up or down, on all three, or on none.
ALPHABET = {".": (0, 0, 0), "+": (1, 1, 1), "-": (-1, -1, -1)} | {
    letter: tuple(sign * (place == channel) for place in range(len(NAMES)))
    for channel, pair in enumerate(("Aa", "Bb", "Cc"))
    for letter, sign in zip(pair, (1, -1), strict=True)
}
LETTERS = (
    "A, B and C are pulses of 1 on the first, second and third channel, a, b and c pulses of \N{MINUS SIGN}1. "
    "+ and - are pulses on all three at once, and a dot is none."
)
#: All three bits are set, then one is turned, once more in the other sequence; what is edited, is so after step AT.
EXAMPLE, TURNED, DOWN = "+..b......", "+..b...B..", "-........."
AT = 5


def section() -> Section:
    """Return the explorer and what its letters stand for, as a section of the page.

    Raises:
        probe.ProbeError: a network is missing or damaged.
    """
    return Section("Run three of the networks", [Text(LETTERS), explorer()], key="explore")


def explorer() -> Explorer:
    """Return the explorer of the page: of each cell the network of the first seed that was judged.

    Raises:
        probe.ProbeError: a network is missing or damaged.
    """
    seed = stored.SEEDS[0]
    networks = [
        ExplorerNetwork(
            called, stored.networks(cell, [seed])[0].model, f"Seed {seed}, the first that was judged.", softmax=False
        )
        for cell, called in CALLED.items()
    ]
    lengths = {recipe.length for recipe in RECIPES.values()}
    memory = [ExplorerEdit("patch", signal, steps=[AT]) for signal in ("cell_state", "hidden_state")]
    experiments = [
        ExplorerExperiment("Another pulse on the second channel", TURNED),
        ExplorerExperiment("Put in a memory of three bits down", second=[DOWN], edits=memory),
        ExplorerExperiment(
            "Set the hidden state to zero once", edits=[ExplorerEdit("ablate", "hidden_state", steps=[AT])]
        ),
    ]
    return Explorer(
        networks,
        EXAMPLE,
        ALPHABET,
        NAMES,
        # It was asked after every step.
        [*range(1, max(lengths) + 1)],
        experiments=experiments,
    )
