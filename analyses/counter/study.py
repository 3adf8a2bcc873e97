"""What the study asks of each network of each population, where the measurements are kept, and how to read them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pandas as pd

from analyses.counter import QUESTIONS, common, measured
from models import planted, zoo
from models.populations import EXPLORING, FIRST, LATER, SECOND_JUDGED, TEMPLATE, TRAJECTORY, Population
from models.recipes import RECIPES
from probe import ProbeError
from probe.errors import unknown
from probe.evidence.measurements import FITTED_HEADS, Network
from probe.studies import store

#: Whether one cell keeps a running count, which is also asked where the count is the task at every step.
ONE_CELL = "one_cell"
#: Whether one holds it up to a shift of each step, which is asked there too.
MOVING_ZERO = "moving_zero"
#: What a network of any other recipe is asked; these need no cell state.
BRIEF = ("accuracy", "other_lengths")
#: What a network is asked on its way through training.
ON_THE_WAY = (
    "accuracy",
    "single_units",
    "linear_readout",
    "noise_margin",
    MOVING_ZERO,
)
#: Smaller networks, which may have to keep in one cell what twelve need not.
SMALLER = ("hidden-2", "hidden-3", "hidden-4")
#: Whose task is the count at every step.
EVERY_STEP = "every-step"
PLANTED, EVERY = "planted", "all"


@dataclass(frozen=True)
class Group:
    """Networks that are measured together: a trained one with its controls, or a planted one.

    Attributes:
        recipe: name of a recipe, or `planted`.
        member: `seed-N`, or the planted network's name.
    """

    recipe: str
    member: str

    @property
    def questions(self) -> tuple[str, ...]:
        """What it is asked."""
        if self.recipe == PLANTED or (self.recipe == SECOND_JUDGED.recipe and self.seed in SECOND_JUDGED.seeds):
            return QUESTIONS
        if self.recipe in SMALLER:
            return (*BRIEF, MOVING_ZERO)
        if self.recipe == EVERY_STEP:
            return (*BRIEF, ONE_CELL, MOVING_ZERO)
        asked = {each.recipe: ON_THE_WAY for each in TRAJECTORY}
        return asked.get(self.recipe, BRIEF)

    @property
    def seed(self) -> int | None:
        """Its seed; None of a planted network."""
        return None if self.recipe == PLANTED else int(self.member.removeprefix("seed-"))

    def networks(self) -> list[Network]:
        """Return its networks.

        Raises:
            ProbeError: a network is missing or damaged.
        """
        seed = self.seed
        return common.planted_networks((self.member,)) if seed is None else common.group(self.recipe, seed)


def groups(recipe: str, seeds: Iterable[int] | None = None) -> list[Group]:
    """Return the groups of a recipe.

    Args:
        recipe: name of a recipe, `planted`, or `all`.
        seeds: which; None for all that are committed.

    Raises:
        ProbeError: there is no such recipe.
    """
    allowed = (*RECIPES, PLANTED, EVERY)
    if recipe not in allowed:
        raise ProbeError(unknown("recipe", recipe, allowed))
    if recipe == EVERY:
        return list(dict.fromkeys([*judged(), *compared(), *later()]))
    if recipe == PLANTED:
        return [Group(PLANTED, name) for name in planted.battery()]
    chosen = zoo.committed_seeds(recipe) if seeds is None else seeds
    return [Group(recipe, f"seed-{seed}") for seed in chosen]


def judged() -> list[Group]:
    """Return the groups that the rules are judged on, and the planted networks beside them."""
    return [*groups(SECOND_JUDGED.recipe, SECOND_JUDGED.seeds), *groups(PLANTED)]


def compared() -> list[Group]:
    """Return every network that recipes are compared by, at seeds from 1000 on; no part of a population."""
    whole = [each for each in FIRST if each not in (EXPLORING, TEMPLATE) and is_whole(each)]
    return [group for each in whole for group in groups(each.recipe, each.seeds)]


def later() -> list[Group]:
    """Return every network of the later populations that are whole."""
    return [group for each in LATER if is_whole(each) for group in groups(each.recipe, each.seeds)]


def is_whole(population: Population) -> bool:
    """Return whether all networks of a population are committed: a part of one would be a choice."""
    return set(population.seeds) <= set(zoo.committed_seeds(population.recipe))


def measure(
    group: Group,
    folder: Path = measured.FOLDER,
    parts: Path = measured.PARTS,
    questions: Sequence[str] | None = None,
    versions: Mapping[str, int] | None = None,
) -> list[str]:
    """Measure what is missing of a group, write it into the group's part and return which questions those were.

    Args:
        group: which networks.
        folder: where the populations' files lie.
        parts: where the parts lie, see `store.Store`.
        questions: only these of what the group is asked; None for all.
        versions: of the questions, as who gives the work has them; None for what this process has.

    Raises:
        ProbeError: this process has other versions, a network is missing or damaged, or a file cannot be read or
            written.
    """
    common.limit_threads()
    now = measured.versions()
    other = [name for name, known in (versions or {}).items() if known != now[name]]
    if other:
        raise ProbeError(
            f"A worker has another version than the command that gives it work, of {', '.join(other)}: it was "
            "started before a file was edited, or in another checkout. Start the workers again, then the command."
        )
    asked = measured.versions(name for name in group.questions if questions is None or name in questions)
    networks = group.networks()
    digests = measured.digests(networks)
    kept = store.Store(folder, parts, group.recipe)
    wanted = kept.held(group.member, digests, asked).missing(digests, asked)
    if wanted:
        kept.add(group.member, fresh(networks, wanted), list(now))
    return wanted


def fresh(networks: Sequence[Network], questions: Sequence[str]) -> store.Measured:
    """Return what is measured of networks here and now."""
    tables = {name: import_module(f"analyses.counter.{name}").measure(networks) for name in questions}
    made = dict.fromkeys(questions, measured.environment())
    return store.Measured(measured.digests(networks), measured.versions(questions), tables, made)


def judged_material(
    questions: Sequence[str], folder: Path | None = None
) -> tuple[list[Network], dict[str, pd.DataFrame]]:
    """Return the networks that the rules are judged on, and their tables; the one of median drift is in detail.

    Beside them stand the networks of other recipes that were asked `ONE_CELL` and `MOVING_ZERO`.

    Raises:
        ProbeError: as `read`.
    """
    needed = {"other_lengths"} | ({ONE_CELL} if "unit_ablation" in questions else set())
    networks, tables = read(judged(), [*questions, *sorted(needed - set(questions))], folder)
    if "unit_ablation" in questions:
        tables["unit_ablation"] = pd.concat([tables["unit_ablation"], _alone(tables[ONE_CELL])], ignore_index=True)
    lengths = tables["other_lengths"]
    drift = lengths[(lengths["metric"] == "drift") & (lengths["role"] == "trained")]
    ordered = drift.sort_values(["value", "network"])["network"].tolist()
    middle = ordered[(len(ordered) - 1) // 2]
    marked = [
        dataclasses.replace(network, detail=True)
        if isinstance(network, common.Studied) and f"{network.name}/".startswith(f"{middle}/")
        else network
        for network in networks
    ]
    for name in [name for name in (ONE_CELL, MOVING_ZERO) if name in questions]:
        more, rows = read([group for group in compared() if name in group.questions], [name], folder)
        marked += [network for network in more if network.name not in {each.name for each in marked}]
        tables[name] = pd.concat([tables[name], rows[name]], ignore_index=True)
    return marked, tables


def _alone(table: pd.DataFrame) -> pd.DataFrame:
    """Return what the best unit does alone with each head; `unit_ablation` has it of trained networks."""
    rows = table[(table["metric"] == "cell_test") & (table["kind"] == "suffices") & table["role"].isin(FITTED_HEADS)]
    best = rows.sort_values("value", kind="stable").drop_duplicates("network", keep="last")
    return best.assign(metric="best_single_unit_score", kind="")


def read(
    chosen: Sequence[Group], questions: Sequence[str], folder: Path | None = None
) -> tuple[list[Network], dict[str, pd.DataFrame]]:
    """Return the networks of groups, and what was measured on them, a table for each question.

    Args:
        chosen: which groups.
        questions: which tables.
        folder: of measurements; None for the committed ones.

    Raises:
        ProbeError: a network is missing or damaged, or its measurements are, see `store.gather`.
    """
    place = measured.FOLDER if folder is None else folder
    if not place.exists():
        raise ProbeError(
            f"The folder {str(place)!r} does not exist. Give one that holds measurements, or fill it: `make study` "
            "fills analyses/counter/measured, and `python -m analyses counter --recipe all` with this --measured any "
            "other."
        )
    networks = [group.networks() for group in chosen]
    groups = [
        (place / f"{group.recipe}{store.SUFFIX}", group.member, measured.digests(own))
        for group, own in zip(chosen, networks, strict=True)
    ]
    tables = store.gather(groups, measured.versions(questions), measured.AGAIN)
    return [network for own in networks for network in own], tables
