"""What every analysis shares: the networks, the strings, the provenance and the judging of rules."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import platform
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from threadpoolctl import threadpool_limits
from torch import nn

import probe
from analyses.counter import QUESTIONS
from models import planted, zoo
from models.checkpoints import weights_digest
from models.counter import Coded, answer, expected_answer
from models.fitted_head import HEADS
from models.populations import SECOND_JUDGED, TRAJECTORY
from models.recipes import Recipe
from models.tasks import bit_strings, running_count
from models.training import initialise
from probe.evidence import DataFigure, Rule, judge
from probe.evidence.measurements import FITTED_HEADS, Network, only
from probe.plots.style import style
from probe.subjects.subject import Subject

#: All strings of ten bits (1024, 10, 1), and how many ones each had after each step (1024, 10).
STRINGS = bit_strings(10)
COUNTS = running_count(STRINGS)
REPOSITORY = Path(__file__).parents[2]
#: How many verdicts were decided together, those that are no longer asked among them; and how many of the claims
#: about recipes, which were judged before.
FAMILY, RECIPES_FAMILY = 49, 33
#: What the best of the heads on an untrained recurrence is called in tables.
STRONGEST = "strongest head"
#: Of a planted weight what is smaller counts as 0.
SMALL = 1e-9
LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn", "pandas", "matplotlib", "seaborn")


@dataclass(frozen=True)
class Studied(Network):
    """A counter under study.

    Attributes:
        train: rows of `STRINGS` that it was trained on, before or after; empty for a planted one.
        test: the other rows.
        checkpoint: whether it is the one network that the user gave, or a control of it.
        detail: whether it is the network that a figure of one network shows, or a control of it.
        asked: what it was trained to answer, a key of `models.tasks.QUESTIONS`; all are measured on the ones.
        computed_from: what its weights are computed from here, where they stand in no file: their last bits depend on
            the processor.
    """

    train: tuple[int, ...] = ()
    test: tuple[int, ...] = ()
    checkpoint: bool = False
    detail: bool = False
    asked: str = "ones"
    computed_from: str = ""


def group(recipe: str, seed: int) -> list[Network]:
    """Return a committed network with what is measured beside it: a counter's controls.

    Those of the judged population have their own initialisation and every fitted head, and the role `trained`. All
    others have the role `other`; beside the counter that was stopped first stands its own initialisation.

    Args:
        recipe: name of a recipe.
        seed: which.

    Raises:
        probe.ProbeError: there is no such recipe, or the network is missing or damaged.
    """
    (trained,) = zoo.networks(recipe, [seed])
    name = f"{recipe}/seed-{seed}"
    if recipe == SECOND_JUDGED.recipe and seed in SECOND_JUDGED.seeds:
        return list(_with_controls(trained, name))
    # No pair is made with a network of another recipe, so it has no seed in the tables; its name says it.
    stopped = _studied(trained, name, "other")
    if recipe != TRAJECTORY[0].recipe:
        return [stopped]
    # The first of the stopped counters has all of their beginning beside it.
    own = initialise(Recipe.from_dict(trained.config["recipe"]), seed).eval()
    control = _studied(trained, f"{name}/own initialisation", "own initialisation", model=own)
    drawn = json.dumps([trained.config["recipe"], seed], sort_keys=True)
    return [stopped, dataclasses.replace(control, computed_from=drawn)]


def networks_of(checkpoint: str | Path) -> list[Network]:
    """Return one counter with its controls, and the planted ones-counters beside it.

    A network that reads another code than 0 and 1 is wrapped so that it can be given bits. Where the checkpoint
    does not hold its own initialisation, random weights are drawn anew by its recipe in their place.

    Args:
        checkpoint: a folder that `models.checkpoints.save` wrote, by `python -m models.train` for instance.

    Raises:
        probe.ProbeError: it is missing or damaged, or answers another question than the ones of ten bits.
    """
    trained = zoo.checkpoint(checkpoint)
    recipe = Recipe.from_dict(trained.config["recipe"])
    length = STRINGS.shape[1]
    if recipe.question != "ones" or recipe.length != length:
        raise probe.ProbeError(
            f"The network in {str(checkpoint)!r} answers {recipe.question!r} on strings of {recipe.length} bits; the "
            f"analyses ask for the ones of {length}. Give a network of such a recipe."
        )
    if trained.untrained is None:
        trained = dataclasses.replace(trained, untrained=initialise(recipe, trained.seed).eval())
    name = f"{recipe.name}/seed-{trained.seed}"
    networks = [dataclasses.replace(network, checkpoint=True) for network in _with_controls(trained, name)]
    return [*networks, *planted_networks(("ones", "ones-alone"))]


def planted_networks(names: Sequence[str] | None = None) -> list[Network]:
    """Return planted networks as `planted/NAME`.

    Args:
        names: keys of `models.planted.battery`; None for all.
    """
    built = planted.battery()
    return [Studied(f"planted/{name}", "planted", built[name]) for name in (built if names is None else names)]


def _with_controls(trained: zoo.Trained, name: str) -> list[Studied]:
    """Return a trained network and those of its controls that there are."""
    found = [_studied(trained, name, "trained", trained.seed)]
    if trained.untrained is None:
        return found
    own, below = "own initialisation", weights_digest(trained.untrained)
    found.append(_studied(trained, f"{name}/{own}", own, trained.seed, trained.untrained))
    for how, role in HEADS.items():
        head = _studied(trained, f"{name}/{role}", role, trained.seed, trained.with_fitted_head(how))
        found.append(dataclasses.replace(head, computed_from=f"{role} on {below}"))
    return found


def _studied(
    trained: zoo.Trained, name: str, role: str, pair: int | str = "", model: nn.Module | None = None
) -> Studied:
    """Return a network of a checkpoint, or a control of it, with its split and in the code of bits."""
    recipe = Recipe.from_dict(trained.config["recipe"])
    train, test = (tuple(trained.config["split"][part]) for part in ("train", "test"))
    model = trained.model if model is None else model
    if (recipe.zero, recipe.one) != (0.0, 1.0):
        model = Coded(model, zero=recipe.zero, one=recipe.one)
    return Studied(name, role, model, pair, train, test, asked=recipe.question)


#: The roles whose answers are the count: an untrained head's are random.
ANSWERING = ("trained", *FITTED_HEADS, "planted", "other")


def counted(bits: np.ndarray) -> np.ndarray:
    """Return how many ones there were after each of a string's bits, (time,)."""
    return bits[:, 0].cumsum()


def askable(bits: np.ndarray) -> bool:
    """Return whether no program's answer to a string leaves the counts from 0 to 10."""
    length = STRINGS.shape[1]
    return bool(bits.sum() <= length and len(bits) - bits.sum() <= length)


@lru_cache(maxsize=16)
def _subject(network: Network) -> Subject:
    return Subject.of(
        network, STRINGS, counted, answer=answer, expected=expected_answer, allowed=askable, name="count"
    )


def subjects(networks: Iterable[Network]) -> list[Subject]:
    """Return networks with what all questions ask of them: the strings of ten bits, the count, and the answer.

    What a question computes of a subject, such as its clean run, the next question of the same networks finds there.
    """
    return [_subject(network) for network in networks]


def pick(among: Sequence[Network], *roles: str) -> list[Network]:
    """Return the networks of some roles."""
    return [network for network in among if network.role in roles]


def split_seed(network: Network) -> int:
    """Return what a network's splits are drawn by: its seed, or the checksum of its name where it has none.

    A network and its controls share the seed, so that they are compared on the same splits.
    """
    pair = str(network.pair)
    return int(pair) if pair.isdigit() else zlib.crc32(network.name.encode())


def drawn(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that a figure of roles shows: of the planted networks the ones-counter alone.

    The planted networks differ from each other by design, and those of other recipes too, so that their median would
    be nobody's.
    """
    shown = ~table["role"].isin(["planted", "other"]) | (table["network"] == "planted/ones")
    return table[shown].reset_index(drop=True)


def short_key(rule: Rule) -> str:
    """Return the key of a rule without the mark of the second judgement, in which it was judged last."""
    return rule.key.removeprefix("II.")


def of_rule(table: pd.DataFrame, rule: Rule) -> pd.DataFrame:
    """Return the rows that a rule is about, of every role."""
    rows = table[table["metric"] == rule.metric]
    return rows[(rows["signal"] == rule.signal) | (rows["kind"] == rule.signal)] if rule.signal else rows


def with_strongest(table: pd.DataFrame, rules: Sequence[Rule]) -> pd.DataFrame:
    """Return a table with a row more for each pair and rule: the head that does best by the rule.

    Args:
        table: measurements of trained networks and of their controls.
        rules: those whose control is another need no such row.
    """
    added = []
    for rule in rules:
        if any(control.role == STRONGEST for control in rule.controls):
            rows = of_rule(table, rule)
            heads = rows[rows["role"].isin(FITTED_HEADS)].sort_values(
                "value", ascending=math.isfinite(rule.established_if.high), kind="stable"
            )
            # A pair that lacks a head has no strongest one: the others alone would be a weaker control.
            whole = heads.groupby("pair")["role"].transform("nunique") == len(FITTED_HEADS)
            best = heads[whole].drop_duplicates("pair")
            names = [f"{name.rpartition('/')[0]}/{STRONGEST}" for name in best["network"]]
            added.append(best.assign(role=STRONGEST, network=names))
    rows = pd.concat(added, ignore_index=True).drop_duplicates() if added else table.iloc[:0]
    return pd.concat([table, rows], ignore_index=True)


def strongest(table: pd.DataFrame, rule: Rule) -> pd.Series:
    """Return the values of the head that does best by a rule, a pair each; empty where networks have no heads."""
    return only(of_rule(with_strongest(table, [rule]), rule), role=STRONGEST)["value"]


def in_detail(networks: Sequence[Network]) -> Network:
    """Return the trained network that figures of a single one show: the one so marked, else the first.

    Raises:
        probe.ProbeError: none is trained.
    """
    trained = pick(networks, "trained")
    marked = [network for network in trained if isinstance(network, Studied) and network.detail]
    if not trained:
        raise probe.ProbeError("No network is trained; give one of role 'trained' among the networks.")
    return (marked or trained)[0]


def row(
    question: str, metric: str, network: str, value: float, *, pair: str = "", kind: str = ""
) -> dict[str, object]:
    """Return a row of role `trained` that was computed from other rows, so that no network is at hand."""
    about: dict[str, object] = {"question": question, "metric": metric, "role": "trained", "network": network}
    return about | {"pair": pair, "kind": kind, "value": value}


def values(table: pd.DataFrame, metric: str, role: str = "trained", **columns: str) -> pd.Series:
    """Return the values of a metric in one role, a network each; `columns` pick among them, such as `kind`."""
    return only(table, metric=metric, role=role, **columns)["value"]


def picture(draw: Callable[[], Axes | Figure], **words: Any) -> DataFigure:
    """Return what is drawn in the style of all figures, with its words and data, see `DataFigure.from_figure`."""
    with style():
        made = draw()
        figure: Any = made.figure if isinstance(made, Axes) else made
        return DataFigure.from_figure(figure, **words)


def medians(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return the medians over networks, which is what a line of a figure shows, and over how many networks."""
    return table.groupby(keys, dropna=False)["value"].agg(median="median", networks="size").reset_index()


def finding(
    question: str,
    title: str,
    measurements: pd.DataFrame,
    *,
    studied: Sequence[Network],
    rules: Sequence[Rule] = (),
    figures: Sequence[DataFigure] = (),
    notes: Mapping[str, str] | None = None,
) -> probe.Finding:
    """Judge the rules against the strongest controls, and return the finding with its provenance.

    The level is that of all verdicts that were decided together.
    """
    return probe.Finding(
        question,
        title,
        measurements,
        judge(with_strongest(measurements, rules), rules, family=FAMILY),
        tuple(figures),
        provenance(question, studied),
        notes or {},
    )


@cache
def rules_first_used() -> dict[str, str]:
    """Return the digest that each rule had before the networks that it judges were trained, by key.

    No digest is written again: where a rule's digest differs from it, or it is not in there, the rule was made or
    changed after measuring, and the page says so.
    """
    return json.loads((Path(__file__).parent / "rules_first_used.json").read_text(encoding="utf-8"))


def provenance(question: str, studied: Sequence[Network]) -> dict[str, object]:
    """Return what a finding was made from: no clock, no path, so that reruns give the same bytes."""
    given = any(network.checkpoint for network in studied if isinstance(network, Studied))
    name = f" {question.replace('_', '-')}" if question in QUESTIONS else ""
    option = " --checkpoint DIR" if given else ""
    return {
        "command": f"python -m analyses counter{name}{option}",
        "rnn-probe": probe.__version__,
        "weights": {network.name: weights_of(network) for network in studied},
        "rules_first_used": rules_first_used(),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES},
    }


def weights_of(network: Network) -> str:
    """Return the SHA-256 that a network's weights are known by, the same on every processor.

    Weights that are computed here are known by what they are computed from, those of a planted network by six digits
    of each.
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


def limit_threads() -> None:
    """Use one thread: a small recurrent network runs slower on two, and sums come out in another order.

    Linear algebra's own threads as well: over a hundred rows they wait for each other.
    """
    torch.set_num_threads(1)
    threadpool_limits(1)
