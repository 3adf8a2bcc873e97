"""What the counter's questions share: the networks, the strings, and how figures are made."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import zlib
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from models import planted, zoo
from models.checkpoints import weights_digest
from models.counter import Coded, Counter, answer, expected_answer
from models.data import described_strings
from models.fitted_head import HEADS, SCALE, FittedHead, fit_head
from models.populations import TRAJECTORY
from models.recipes import Recipe
from models.tasks import bit_strings, running_count
from models.training import initialise
from probe.evidence import Claim, DataFigure, Rule
from probe.evidence.claims import STRONGEST, of_rule, strongest_heads
from probe.evidence.measurements import FITTED_HEADS, Network, only
from probe.plots.style import ROLE_STYLE, style
from probe.subjects.concepts import NUMERIC, Concept, Known, resolve
from probe.subjects.subject import Subject

#: All strings of ten bits (1024, 10, 1), and how many ones each had after each step (1024, 10).
STRINGS = bit_strings(10)
COUNTS = running_count(STRINGS)
REPOSITORY = Path(__file__).parents[2]
#: Of a planted weight what is smaller counts as 0.
SMALL = 1e-9


@dataclass(frozen=True)
class Studied(Network):
    """A counter under study.

    Attributes:
        train: rows of `STRINGS` that it was trained on, before or after; empty for a planted one.
        test: the other rows.
        asked: what it was trained to answer, a key of `models.tasks.QUESTIONS`; all are measured on the ones.
        computed_from: what its weights are computed from here, where they stand in no file: their last bits depend on
            the processor.
    """

    train: tuple[int, ...] = ()
    test: tuple[int, ...] = ()
    asked: str = "ones"
    computed_from: str = ""


def with_controls(recipe: str, seed: int, *, fit: bool | Collection[str] = True) -> list[Studied]:
    """Return a committed network of a recipe with its own initialisation and every fitted head.

    Without `fit`, or where it names other networks or heads, a head is NaN: what was measured is tied to what it is
    fitted on, and takes no fit to read.

    Raises:
        probe.ProbeError: there is no such recipe, or the network is missing or damaged.
    """
    (trained,) = zoo.networks(recipe, [seed])
    name, own = f"{recipe}/seed-{seed}", "own initialisation"
    untrained, drawn = _beginning(trained)
    # Seeds of several recipes would be pairs of each other.
    pair = name if drawn else trained.seed
    below, strings = drawn or weights_digest(untrained), partial(described_strings, trained.config)
    units = untrained.layer.hidden_size
    begun = _studied(trained, f"{name}/{own}", own, pair, model=untrained, computed_from=drawn)
    found = [_studied(trained, name, "trained", pair), begun]
    for how, role in HEADS.items():
        fits = fit is True or (fit and not {name, f"{name}/{role}"}.isdisjoint(fit))
        head = fit_head(untrained, strings(), how, seed=seed) if fits else _unfitted(untrained.cell, units, how)
        said = f"{role} on {below}" + f" times {SCALE:g}" * (how == "scaled")
        found.append(_studied(trained, f"{name}/{role}", role, pair, model=head, computed_from=said))
    return found


def fitted_head(name: str) -> Studied:
    """Return the random weights of a counter with a head of least squares.

    Args:
        name: of the trained network, RECIPE/seed-N.
    """
    recipe, _, seed = name.partition("/seed-")
    shown = f"{name}/fitted head"
    return next(one for one in with_controls(recipe, int(seed), fit=[shown]) if one.name == shown)


@cache
def _unfitted(cell: str, units: int, how: str) -> FittedHead:
    """Return a head that is NaN, the same for all networks of a size."""
    return FittedHead(Counter(units, cell=cell).layer, cell, how)


def _beginning(trained: zoo.Trained) -> tuple[Counter, str]:
    """Return a network before training, and what it is computed from here where nobody kept it."""
    if trained.untrained is not None:
        return trained.untrained, ""
    drawn = json.dumps([trained.config["recipe"], trained.seed], sort_keys=True)
    return initialise(Recipe.from_dict(trained.config["recipe"]), trained.seed).eval(), drawn


def of_recipe(recipe: str, seeds: Iterable[int]) -> list[Studied]:
    """Return committed networks of a recipe, in the role `other`: no pair is made with one of another recipe.

    The first of the stopped counters has all of their beginning beside it.

    Raises:
        probe.ProbeError: there is no such recipe, or a network is missing or damaged.
    """
    found = []
    for trained in zoo.networks(recipe, seeds):
        name, own = f"{recipe}/seed-{trained.seed}", "own initialisation"
        found.append(_studied(trained, name, "other"))
        if recipe == TRAJECTORY[0].recipe:
            start, drawn = _beginning(trained)
            found.append(_studied(trained, f"{name}/{own}", own, model=start, computed_from=drawn))
    return found


def planted_networks(names: Iterable[str]) -> list[Studied]:
    """Return planted networks as `planted/NAME`; names are keys of `models.planted.battery`."""
    built = planted.battery()
    return [known(Studied(f"planted/{name}", "planted", built[name])) for name in names]


def _studied(
    trained: zoo.Trained,
    name: str,
    role: str,
    pair: int | str = "",
    *,
    model: nn.Module | None = None,
    computed_from: str = "",
) -> Studied:
    """Return a network of a checkpoint, or a control of it, with its split and in the code of bits."""
    recipe = Recipe.from_dict(trained.config["recipe"])
    train, test = (tuple(trained.config["split"][part]) for part in ("train", "test"))
    model = trained.model if model is None else model
    if (recipe.zero, recipe.one) != (0.0, 1.0):
        model = Coded(model, zero=recipe.zero, one=recipe.one, other=recipe.other)
    return known(Studied(name, role, model, pair, "", train, test, recipe.question, computed_from))


def known(network: Studied) -> Studied:
    """Return a network with what it is known by: its weights, its split and its code of bits."""
    code = (network.model.zero, network.model.one) if isinstance(network.model, Coded) else (0.0, 1.0)
    given = json.dumps([code, network.train, network.test, network.asked]).encode()
    inputs = hashlib.sha256(STRINGS.numpy().tobytes() + given).hexdigest()
    return dataclasses.replace(network, known_by=f"{weights_of(network)[:16]}+{inputs[:16]}")


@dataclass(frozen=True)
class Across:
    """What is told beside the questions, found across populations, with what a `Question` has."""

    name: str
    title: str
    text: str = ""
    rules: tuple[Rule, ...] = ()


#: The roles whose answers are the count: an untrained head's are random.
ANSWERING = ("trained", *FITTED_HEADS, "planted", "other")


def counted(bits: np.ndarray) -> np.ndarray:
    """Return how many ones there were after each of a string's bits, (time,)."""
    return bits[:, 0].cumsum()


def askable(bits: np.ndarray) -> bool:
    """Return whether no program's answer to a string leaves the counts from 0 to 10."""
    length = STRINGS.shape[1]
    return bool(bits.sum() <= length and len(bits) - bits.sum() <= length)


@cache
def _count() -> Known:
    lengths = np.full(len(STRINGS), STRINGS.shape[1])
    return resolve("count", Concept(counted, NUMERIC), STRINGS.double().numpy(), lengths)


def subjects(networks: Iterable[Network]) -> list[Subject]:
    """Return networks with what all questions ask of them: the strings of ten bits, the count, and the answer."""
    about: dict[str, Any] = {"answer": answer, "expected": expected_answer, "allowed": askable, "name": "count"}
    return [Subject.of(network, STRINGS, _count(), **about) for network in networks]


def split_seed(network: Network) -> int:
    """Return what the splits of a network and its controls are drawn by: their seed, or a checksum of the name."""
    pair = str(network.pair)
    return int(pair) if pair.isdigit() else zlib.crc32(network.name.encode())


#: What captions say of `drawn`.
BEST_HEAD = "Fitted head: the best of five by the rule."


def drawn(table: pd.DataFrame, rule: Rule) -> pd.DataFrame:
    """Return the rows that a figure of roles shows: trained, the planted ones-counter, and the best control.

    Of planted networks, which differ by design, it is one; of the fitted heads of a pair the one that does best by
    the rule, as `fitted head`; of other controls that of the best median.

    Args:
        table: measurements of networks and their controls.
        rule: a rule with controls.
    """
    roles = {control.role for control in rule.controls}
    if STRONGEST in roles:
        best = table["network"].isin(strongest_heads(table, rule)["network"])
        controls = table[best].assign(role="fitted head")
    else:
        medians = of_rule(table, rule).groupby("role")["value"].median()[sorted(roles)]
        controls = table[table["role"] == (medians.idxmin() if rule.controls[0].lower else medians.idxmax())]
    own = table[(table["role"] == "trained") | (table["network"] == "planted/ones")]
    return pd.concat([own, controls], ignore_index=True)


def median_drift(table: pd.DataFrame) -> str:
    """Return the trained network of median drift, which figures of a single one show."""
    return middle(only(table, metric="drift", role="trained").set_index("network")["value"])


def middle(drifts: pd.Series) -> str:
    """Return the name of the network of median drift."""
    ordered = drifts.rename_axis("network").rename("value").reset_index().sort_values(["value", "network"])["network"]
    return str(ordered.iloc[(len(ordered) - 1) // 2])


def row(
    question: str, metric: str, network: str, value: float, *, pair: str = "", kind: str = ""
) -> dict[str, object]:
    """Return a row of role `trained` that was computed from other rows, so that no network is at hand."""
    about: dict[str, object] = {"question": question, "metric": metric, "role": "trained", "network": network}
    return about | {"pair": pair, "kind": kind, "value": value}


def picture(draw: Callable[[], Axes | Figure], **words: Any) -> DataFigure:
    """Return what is drawn in the style of all figures, with its words and data, see `DataFigure.from_figure`."""
    with style():
        made = draw()
        figure: Any = made.figure if isinstance(made, Axes) else made
        return DataFigure.from_figure(figure, **words)


def strip(ax: Axes, values: pd.Series, role: str, *, at: float, height: float = 0.12) -> None:
    """Draw networks of a role as dots along a row at a height, and their median as a bar."""
    look, y = ROLE_STYLE[role], at + height * np.linspace(-1, 1, len(values))
    ax.plot(values, y, look.marker, color=look.color, markersize=3, alpha=0.6, rasterized=True)
    ax.plot([values.median()], [at], "|", color="black", markersize=14, markeredgewidth=2)


def said(claims: Iterable[Claim]) -> str:
    """Return what a terminal shows of claims: each with its verdict."""
    return " ".join(f"{claim.rule.on_page}: {claim.verdict}." for claim in claims)


def medians(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return the medians over networks, which is what a line of a figure shows, and over how many networks."""
    return table.groupby(keys, dropna=False)["value"].agg(median="median", networks="size").reset_index()


def weights_of(network: Network) -> str:
    """Return the SHA-256 that a network's weights are known by, the same on every processor.

    Weights that are computed here are known by what they come from, those of planted networks by six digits of each.
    """
    if isinstance(network, Studied) and network.computed_from:
        return hashlib.sha256(network.computed_from.encode()).hexdigest()
    if network.role != "planted":
        return weights_digest(network.model)
    found = hashlib.sha256()
    for name, tensor in sorted(network.model.state_dict().items()):
        # Over pi: a short binary fraction may lie just between two roundings, and its last bit would decide.
        weights = [each if abs(each) > SMALL else 0.0 for each in tensor.flatten().tolist()]
        numbers = " ".join(f"{each / math.pi:.5e}" for each in weights)
        found.update(f"{name} {tuple(tensor.shape)}\n{numbers}".encode())
    return found.hexdigest()
