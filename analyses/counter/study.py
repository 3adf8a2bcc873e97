"""The counter's studies: which networks, what each is asked, and where what was measured of them lies."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from analyses.counter import (
    FRESH_QUESTIONS,
    QUESTIONS,
    accuracy,
    base_rate,
    common,
    crossed,
    drawn,
    explored,
    labels,
    over_training,
    pictures,
    plain,
    rules,
    story,
    training_signal,
    verdicts,
    width,
)
from models import planted, zoo
from models.populations import (
    BASE_RATE,
    CROSSED,
    EXPLORING,
    FEW,
    FIRST,
    FRESH,
    LATER,
    SECOND_JUDGED,
    TEMPLATE,
    TRAJECTORY,
    WIDER,
    Population,
)
from models.recipes import RECIPES, Recipe
from probe import Finding, ProbeError, Study
from probe.errors import unknown
from probe.evidence import Rule
from probe.evidence.claims import STRONGEST
from probe.evidence.words import listed
from probe.questions import Question
from probe.report import Details, Link, Section, Table, Text
from probe.storage.files import write_atomically
from probe.studies.pages.sections import build, claims_table, provenance, tally
from probe.studies.run import findings as judged_one_by_one
from probe.subjects.subject import Subject
from reports import claims, first_page

FOLDER = Path(__file__).parent / "measured"
#: The way up from a study's first page.
UP = (Link("All pages", "../index.html"),)
#: The picture that is shown with a link to a page, beside it, and README's: of which figure each is.
PICTURE = "picture.png"
PICTURES = {PICTURE: "hero_trained.png", "hundred.png": "hundred.png"}
#: Raised by hand when the strings, the count or the answer are defined in another way.
VERSION = 1
#: What a network of any other recipe is asked; these need no cell state.
BRIEF = ("accuracy", "other_lengths", "drift_law")
#: What a network is asked on its way through training.
ON_THE_WAY = ("accuracy", "linear_readout", "noise_margin", "one_cell", "moving_zero", "drift_law")
#: Smaller networks, which may have to keep in one cell what twelve need not.
SMALLER = ("hidden-2", "hidden-3", "hidden-4")
#: Whose task is the count at every step.
EVERY_STEP = "every-step"


def questions(names: Sequence[str]) -> list[Question]:
    """Return questions of the counter's by name."""
    known = {one.name: one for one in (*plain.QUESTIONS, *plain.FRESH, *drawn.QUESTIONS)}
    return [known.get(name) or import_module(f"analyses.counter.{name}").QUESTION for name in names]


def judged(names: Sequence[str] = QUESTIONS, *, fit: bool | Collection[str] = True) -> Study:
    """Return the study that the rules are judged on: counters with their controls, and the planted networks.

    To read what was measured heads need no `fit`.
    """
    return _study(_beside_heads(SECOND_JUDGED, fit) + common.planted_networks(planted.battery()), questions(names))


def recipes(names: Sequence[str] = BRIEF) -> Study:
    """Return the study of every other recipe, at seeds from 1000 on; some recipes are asked more."""
    whole = [each for each in FIRST if each not in (EXPLORING, TEMPLATE) and is_whole(each)]
    networks = [network for each in whole for network in common.of_recipe(each.recipe, each.seeds)]
    asked = {"one_cell": (EVERY_STEP,), "moving_zero": (*SMALLER, EVERY_STEP)}
    some = [replace(one, needs=(_only(asked[one.name]),)) for one in questions([*asked])]
    return _study(networks, [*questions(names), *some])


def training() -> Study:
    """Return the study of counters that were stopped on their way through training."""
    whole = [each for each in LATER if each in TRAJECTORY and is_whole(each)]
    networks = [network for each in whole for network in common.of_recipe(each.recipe, each.seeds)]
    return _study(networks, questions(ON_THE_WAY))


def fresh(names: Sequence[str] = FRESH_QUESTIONS, *, fit: bool | Collection[str] = True) -> Study:
    """Return the study of the fresh counters with their controls, beside planted networks and every-step counters.

    Its verdicts are decided together with all before them. To read what was measured heads need no `fit`.
    """
    networks = common.planted_networks(planted.battery()) + common.of_recipe(EVERY_STEP, FEW)
    return _study(_beside_heads(FRESH, fit) + networks, questions(names), rules.FRESH_FAMILY)


def rates(*, fit: bool | Collection[str] = True) -> Study:
    """Return the study of counters of several base rates with their heads, and of their beginnings.

    To read what was measured heads need no `fit`.
    """
    networks = []
    for each in BASE_RATE:
        if RECIPES[each.recipe].epochs == Recipe.epochs:
            networks += _beside_heads(each, fit)
        else:
            networks += common.of_recipe(each.recipe, each.seeds)
    return _study(networks, questions([base_rate.NAME]))


def widths() -> Study:
    """Return the study of ten networks of each width."""
    few = [Population(f"hidden-{units}", f"hidden-{units}", FEW[: len(WIDER[0].seeds)]) for units in (1, 2, 3, 4)]
    few.append(Population("counter", "counter", SECOND_JUDGED.seeds[: len(WIDER[0].seeds)]))
    networks = [network for each in (*few, *WIDER) for network in common.of_recipe(each.recipe, each.seeds)]
    return _study(networks, questions(("accuracy", "other_lengths", "one_cell", width.NAME)))


def crossings() -> Study:
    """Return the study of counters in which base rate, numbers read and start are crossed."""
    networks = [network for each in CROSSED for network in common.of_recipe(each.recipe, each.seeds)]
    return _study(networks, questions([base_rate.NAME]))


def is_whole(population: Population) -> bool:
    """Return whether all networks of a population are committed: a part of one would be a choice."""
    return set(population.seeds) <= set(zoo.committed_seeds(population.recipe))


#: What is told with the questions, across populations.
ACROSS = (*(one.ACROSS for one in (labels, base_rate, crossed, training_signal, over_training, width, verdicts)),)
#: What CI measures again each time: a counter with what is measured beside it, a planted count, a planted count that
#: nothing reads, an answer after every step, another code of bits, and counters on their way through training.
PANEL = {
    "judged": ("counter/seed-2000", "planted/ones", "planted/decoy"),
    "recipes": ("every-step/seed-1000", "code-signed/seed-1000"),
    "training": (),
    "fresh": (f"counter/seed-{FRESH.seeds[0]}", "planted/drift-0.5"),
    "rates": (f"{BASE_RATE[0].recipe}/seed-{BASE_RATE[0].seeds[0]}",),
    "widths": (),
    "crossings": (
        f"{CROSSED[0].recipe}/seed-{CROSSED[0].seeds[0]}",
        f"{CROSSED[-1].recipe}/seed-{CROSSED[-1].seeds[0]}",
    ),
}
#: How each control is made, with a version that is raised where it changes.
FITS = {
    "own initialisation": "models.training.initialise 1",
    "scaled head": "scaled 1",
    "no law": "mean of the other medians 1",
    STRONGEST: "least squares 1, ridge 1, noise 1, scores 1, scaled 1",
}
#: By the name of the file of what was measured. Those that take `fit` have heads, which take a second and more to fit
#: to each network: they can be made with some of them fitted.
STUDIES: dict[str, Callable[..., Study]] = {
    each.__name__: each for each in (judged, recipes, training, fresh, rates, widths, crossings)
}


def _beside_heads(population: Population, fit: bool | Collection[str]) -> list[common.Studied]:
    return [one for seed in population.seeds for one in common.with_controls(population.recipe, seed, fit=fit)]


def _study(networks: Sequence[common.Studied], asked: Sequence[Question], family: int = rules.FAMILY) -> Study:
    return Study.of(common.subjects(networks), questions=asked, family=family, version=VERSION)


def _only(recipe: Sequence[str]) -> Callable[[Subject], str | None]:
    """Return the need of a question that is asked of some recipes alone."""

    def need(subject: Subject) -> str | None:
        return None if subject.network.name.partition("/")[0] in recipe else "only some recipes are asked this"

    return need


def findings(names: Sequence[str]) -> dict[str, Finding]:
    """Return what was found, by question; errors are those of `each`."""
    return dict(each(names))


def names_of(names: Sequence[str]) -> list[str]:
    """Return the names of what `each` yields of some questions, or of all.

    Raises:
        ProbeError: there is no such question.
    """
    known = (*QUESTIONS, *FRESH_QUESTIONS)
    for name in names:
        if name not in known:
            raise ProbeError(unknown("question", name, known))
    return list(names) or [*known, *(one.name for one in ACROSS), pictures.NAME]


def each(names: Sequence[str]) -> Iterator[tuple[str, Finding]]:
    """Yield what was found, with the name of its question, as soon as it is.

    Raises:
        ProbeError: there is no such question, or measurements are missing or stale.
    """
    _ = names_of(names)
    parts = {"judged": (judged, QUESTIONS), "fresh": (fresh, FRESH_QUESTIONS)}
    asked = {part: [one for one in names or every if one in every] for part, (_, every) in parts.items()}
    studies = {part: parts[part][0](wanted, fit=False) for part, wanted in asked.items() if wanted}
    found = dict[str, Finding]()
    for part, study in studies.items():
        for one in judged_one_by_one(study, FOLDER / f"{part}.csv.xz"):
            found[one.question] = one
            yield one.question, one
    if names:
        return
    made = found["accuracy"].provenance
    by_name = {one.network.name: one for one in studies["judged"].networks}
    tables = {name: finding.measurements for name, finding in found.items()}
    compared, stopped = recipes().tables(FOLDER / "recipes.csv.xz"), training().tables(FOLDER / "training.csv.xz")
    rated = rates(fit=False).tables(FOLDER / "rates.csv.xz")
    for find in (
        partial(labels.find, by_name.values()),
        partial(training_signal.find, compared),
        partial(over_training.find, stopped),
        lambda: width.find(widths().tables(FOLDER / "widths.csv.xz")),
        partial(base_rate.find, rated, compared, family=rules.LAST_FAMILY),
        lambda: crossed.find(
            crossings().tables(FOLDER / "crossings.csv.xz")[base_rate.NAME], family=rules.CROSSED_FAMILY
        ),
        partial(verdicts.find, found),
        partial(pictures.find, by_name, tables, compared),
    ):
        one = replace(find(), provenance=made)
        found[one.question] = one
        yield one.question, one


def write(folder: Path, out: Path) -> list[Path]:
    """Build the pages from the findings that are there, with the words as they are now, and return their paths.

    Raises:
        ProbeError: a finding is missing or damaged, or a page cannot be written.
    """
    asked = questions((*QUESTIONS, *FRESH_QUESTIONS))
    names = [*(one.name for one in (*asked, *ACROSS)), pictures.NAME]
    found = claims.current({name: Finding.read(folder / name) for name in names}, [*asked, *ACROSS])
    every = {name: {"": finding} for name, finding in found.items()}
    made = provenance(found["accuracy"])
    *kept, frozen = (
        json.loads((FOLDER.parent / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("rules_first_used", "judged_by_first_used", "verdicts_first", "frozen")
    )
    later = claims.told(claims.claims_of(found.values()).values(), *kept, fits=FITS)
    where = {one: name for name, page in story.PAGES.items() for one in page.questions}
    recipe = [[name.replace("_", " "), value] for name, value in asdict(accuracy.PLAN).items() if value is not None]
    plan = Table(["what", "value"], recipe, "The recipe; every seed trains one network.", name="recipe")
    setup = Section("What we trained", [Details("Recipe and controls", [Text(accuracy.SETUP), plan])], key="set-up")
    told = Details("Each claim, with its control", claims_table(every, _how_judged() + later, where))
    table = Section("All claims", [Text([tally(every)]), told], key="claims")
    alike = verdicts.correlations(found)
    behind = [setup, table, verdicts.swept(found), verdicts.together(*alike), *verdicts.BEHIND, _frozen(frozen)]
    contents = story.pages(found, behind)
    built = build(contents, every, made, up=[*UP, Link("The counter", "index.html")], picture=PICTURE)
    drifts = pd.concat([found[name].measurements for name in ("other_lengths", "training_signal")])
    drifts = drifts[drifts["metric"] == "drift"].drop_duplicates("network").set_index("network")["value"]
    built["index.html"] = first_page.page(
        found,
        explored.explorer(drifts),
        contents,
        families=verdicts.families(*alike),
        provenance=made,
        up=UP,
        picture=PICTURE,
    )
    misread = labels.by_count(found[labels.NAME].measurements)
    text = claims.as_json(
        {name: found[name] for name in found if found[name].claims}, *kept, fits=FITS, more={"misread": misread}
    )
    paths = [write_atomically(out / "findings.json", text)]
    drawn = folder / pictures.NAME / "figures"
    paths += [write_atomically(out / name, (drawn / figure).read_bytes()) for name, figure in PICTURES.items()]
    return [*paths, *(page.write(out / name) for name, page in built.items())]


def _how_judged() -> str:
    """Return what is said with the table of all claims: on which networks each was judged, and with which others."""
    second, fresh, rated = (one.seeds for one in (SECOND_JUDGED, FRESH, BASE_RATE[0]))
    risk_fresh = 0.05 * len(rules.FRESH) / rules.FRESH_FAMILY
    risk_rated = 0.05 * len(rules.BASE_RATE) / rules.LAST_FAMILY
    risk_crossed = 0.05 * len(rules.CROSSED) / rules.CROSSED_FAMILY
    return (
        "Values are medians over networks, or shares of them. "
        "The rules were committed before the networks that they are judged on were trained "
        f"(seeds {second[0]} to {second[-1]}). "
        "II. marks a rule that was judged once before. "
        f"Each verdict has a level of {1 - 0.05 / rules.FAMILY:.2%}: "
        f"the risk that any of {rules.FAMILY} is wrong is one in twenty. "
        f"23a and 23b are of the first judgement, of {rules.RECIPES_FAMILY} verdicts, on seeds from 1000 on; "
        "T6 is about seeds from 3000 on. "
        f"{_keys([*rules.ONE_CELL, *rules.OVER_TRAINING])} stand for rules that named no weight, and were written "
        "after these networks had been measured: a verdict that turns with the weight of a prefix is undecided. "
        f"{_keys(rules.FRESH)} are about seeds from {fresh[0]} on, "
        f"{_keys(rules.BASE_RATE)} about seeds from {rated[0]} on, "
        f"and {_keys(rules.CROSSED)} about seeds from {CROSSED[0].seeds[0]} on, "
        "and their verdicts are decided together with all before them. "
        "So the risk that any is wrong is one in twenty for seeds from 1000 on and again for those from 2000 on, "
        f"{risk_fresh:.1%} for seeds from {fresh[0]} on, {risk_rated:.1%} for those from {rated[0]} on and "
        f"{risk_crossed:.1%} for the last."
    )


def _keys(judged: Sequence[Rule]) -> str:
    return listed([one.key for one in judged])


def _frozen(frozen: Sequence[Mapping[str, Any]]) -> Section:
    """Return what was judged before, or predicted and compared, and is asked no more."""
    columns = ["key", "statement", "value", "verdict", "rule", "commit"]
    ended = Table(
        columns,
        [[each[name] for name in columns] for each in frozen],
        "What was judged before, on seeds 1000 to 1099 and against weaker controls, or predicted and compared. The "
        "commit is the last that measured it.",
        name="no-longer-asked",
        digits=3,
        max_rows=len(frozen),
    )
    return Section("What we judged before", [Details("The first judgement", [ended])], key="first-claims")
