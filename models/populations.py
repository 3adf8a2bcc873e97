"""Which networks the study has: recipes with their seeds, fixed before training.

Seeds 0 to 99 are for exploring: rules are written while looking at them. All other populations begin at seed 1000,
which nobody has looked at when the rules are committed (docs/science.md, "Order"). Before the second rules were
written, all of these had been looked at: what those are judged on begins at seed 2000.
"""

from __future__ import annotations

from dataclasses import dataclass

from probe.errors import ProbeError, unknown

from .recipes import CROSSED_CELLS, EXPERIMENT, RATED, WIDTHS
from .recipes import TRAJECTORY as STOPPED


@dataclass(frozen=True)
class Population:
    """Networks of one recipe, a seed each.

    Attributes:
        name: what it is called in `POPULATIONS`.
        recipe: name of the recipe.
        seeds: which seeds; none is left out or replaced afterwards.
    """

    name: str
    recipe: str
    seeds: range


EXPLORING = Population("exploring", "counter", range(100))
CONFIRMING = Population("confirming", "counter", range(1000, 1100))
#: Another question of the same strings.
TEMPLATE = Population("template", "template", range(1000, 1050))
#: Seeds of a recipe with one thing changed: enough for an interval in a figure. A rule is decided on 50 networks or
#: more (docs/science.md, "Verdict"): so many have the two cells that claim 23 judges against `counter`.
FEW, JUDGED, CLAIMED = range(1000, 1020), range(1000, 1050), ("code-signed", "shorter-10-percent")
#: The experiment's cells beside `counter`, whose cell is the confirming population.
CELLS = tuple(Population(each.name, each.name, JUDGED if each.name in CLAIMED else FEW) for each in EXPERIMENT[1:])
_ONE_CHANGED = ("every-step", "truncated", "forget-bias-0", "forget-bias-3", *(f"hidden-{n}" for n in (1, 2, 3, 4)))
#: One thing at a time, beside the experiment.
VARIANTS = tuple(Population(name, name, FEW) for name in (*_ONE_CHANGED, "gru"))
#: Trained after the second rules were committed, which are judged on them.
SECOND_JUDGED = Population("second", "counter", range(2000, 2100))
#: Where `counter` stands after so many steps.
TRAJECTORY = tuple(Population(each.name, each.name, range(3000, 3012)) for each in STOPPED)
#: Judged by rules that were written after the second judgement.
FRESH = Population("fresh", "counter", range(4000, 4050))
#: Of each base rate, trained and at their beginning; the same seeds, so that their initial weights are the same.
BASE_RATE = tuple(Population(each.name, each.name, range(5000, 5050)) for each in RATED)
#: Further widths.
WIDER = tuple(Population(f"hidden-{n}", f"hidden-{n}", range(5000, 5010)) for n in WIDTHS if n > 4)
#: Of each crossed cell ten, and each with a seed of its own: no two networks share weights or strings.
CROSSED = tuple(
    Population(each.name, each.name, range(6000 + 10 * number, 6010 + 10 * number))
    for number, each in enumerate(CROSSED_CELLS)
)

#: Those of the first judgement, and those that were trained after the rules of the second one were committed.
FIRST = (EXPLORING, CONFIRMING, TEMPLATE, *CELLS, *VARIANTS)
LATER = (SECOND_JUDGED, *TRAJECTORY, FRESH, *BASE_RATE, *WIDER, *CROSSED)
#: All of them, in the order in which they are wanted; no network is in two.
POPULATIONS = (*FIRST, *LATER)


def population(name: str) -> Population:
    """Return a population by name.

    Raises:
        ProbeError: there is no such population; the message names the nearest.
    """
    known = {each.name: each for each in POPULATIONS}
    if name not in known:
        raise ProbeError(unknown("population", name, known))
    return known[name]
