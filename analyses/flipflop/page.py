"""The flip-flop's page: its claims, cell by cell, the figures beside them, and three networks to run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analyses.flipflop.networks import BITS, CALLED, NAMES, SEARCH, STEPS, inputs, subjects
from analyses.flipflop.rules import NETWORKS
from models.flipflop import stored
from models.flipflop.stored import FIRST, SEEDS
from models.flipflop.training import RECIPES
from probe import Finding
from probe.evidence import DataFigure
from probe.evidence.measurements import only
from probe.explorer import Explorer, ExplorerEdit, ExplorerExperiment, ExplorerNetwork
from probe.methods import fixed_points
from probe.methods.causal.directions import joint_directions
from probe.methods.causal.pairs import Pairs, along_coordinate
from probe.methods.causal.patched_states import later_states
from probe.plots.legends import figure_legend, legend_above
from probe.plots.spaces import draw_cube, draw_fixed_points, seen
from probe.plots.style import GREY, new_figure, role_style, style
from probe.questions.states import stable_answers
from probe.report import Block, Code, Details, Link, Page, Section, Table, Text
from probe.studies.pages.sections import Asked, claims_table, provenance, section, tally
from probe.subjects.ends import runs_of
from probe.subjects.subject import Subject

#: The picture that is shown with a link to a page, beside it.
PICTURE = "picture.png"
TITLE = "How do recurrent networks hold three bits?"
TASK = (
    "Pulses of 1 or \N{MINUS SIGN}1 come now and then on three channels, and after every step a network answers the "
    "sign of each channel's last pulse."
)
ABOUT = (
    f"We committed the rules but F7 before we trained these networks, with seeds from {SEEDS[0]} on. The controls "
    "are the same networks before their training, with a fitted head where we ask for answers. We test with rarer "
    "pulses than in training, so that the answer takes memory. The task is that of Sussillo & Barak 2013, the recipe "
    "follows Golub & Sussillo 2018."
)
HISTORY = (
    f"F1 to F5 were judged once before, on seeds {FIRST[0]} to {FIRST[-1]}. Those rules are in the same commit as "
    "what was measured, so nothing shows which came first. F2 and F5 named no control, and the search found points "
    "where no state can be. Later “not specific” was redefined: F4 of the tanh RNN had been not specific, and became "
    "undecided without a new measurement. F5 is superseded by F7: it asked for 0.05 more than its control, which "
    "leaves about 0.05, and was undecided for each cell. F7 asks for half of what the control leaves, and was "
    "written after that was seen."
)
SEARCHED = (
    "Over all fixed points the signs of det(1 \N{MINUS SIGN} J) add to 1. That does not show that none is missing: a "
    "saddle and a node that are born together add to 0. Which points lie beside each other is not measured, and "
    "untrained networks are an easy control of F2 and F6."
)
REBUILD = """python -m analyses flipflop             # judges what was measured, and writes this page
python -m analyses flipflop --measure   # measures what is missing
python -m models.flipflop --out FOLDER  # trains the networks again"""
CLAIMS = (
    f"Medians over {NETWORKS} networks of each cell, and of F2 and F6 the share. We decide verdicts at a "
    "higher level than the interval's."
)
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
#: Which network is drawn: the first of the study with this cell.
CELL, SEED = "gru", stored.SEEDS[0]
THIS_ONE, OWN = f"the {CALLED[CELL]} of seed {SEED}", role_style("trained").color
#: A saddle is left by a push of this length to either side, and followed for so many steps.
PUSH, FOLLOWED = 0.05, 40
#: The interchange that is shown: after which step, and of which bit, from 0. The base has no pulse of the bit for at
#: least so many steps, and one later.
STEP, BIT, WAIT = STEPS[1], 0, 7
#: One network as subjects, one a bit.
Group = Sequence[Subject]


def build(findings: Mapping[str, Asked]) -> Page:
    """Return the page."""
    asked = findings["stable_answers"]
    holds = all(one.claims[0].verdict == "established" for one in asked.values())
    first = next(iter(asked.values()))
    lead = f"{first.claims[0].rule.on_page}. {TASK}" if holds else TASK
    sections = [
        *(section(question, one) for question, one in findings.items()),
        explored(),
        Section(
            "How complete is the search?",
            [Details("History, and what was counted", [Text(HISTORY), _search(asked)])],
            key="search",
        ),
        Section(
            "All claims",
            [Text([tally(findings)]), Details("Each claim, with its control", claims_table(findings, CLAIMS))],
            key="claims",
        ),
        Section(
            "The networks", [Details("Recipe, rules, and how to build this page again", _about())], key="networks"
        ),
    ]
    made = [(called, *part) for called, one in findings["step_answers"].items() for part in provenance(one).items()]
    foot = {f"{called}, {name}" if "SHA" in name else name: text for called, name, text in made}
    up = [Link("All pages", "../index.html")]
    return Page(TITLE, lead, sections, provenance=foot, folds_printed=False, up=up, picture=PICTURE)


def _search(asked: Asked) -> Table:
    """Return how many networks have every fixed point, as far as that can be told, of those judged now and first."""
    rows = []
    for called, finding in asked.items():
        for seeds, role in ((SEEDS, "trained"), (FIRST, "other")):
            own = finding.measurements[finding.measurements["role"] == role]
            whole, missed, cube = (only(own, metric=one)["value"] for one in ("incomplete", "points_missed", "cube"))
            counted = (int((whole == 0).sum()), int(missed.sum()), int(cube.sum()))
            rows.append((f"{called}, seeds {seeds[0]} to {seeds[-1]}", *counted))
    return Table(
        ["networks, ten each", "index sum 1", "points from twice the starts", "as many of each kind as a cube"],
        rows,
        SEARCHED,
    )


def _about() -> list[Block]:
    """Return what is said of the networks, and how to build the page again."""
    facts = [(name.replace("_", " "), value) for name, value in asdict(RECIPES[CELL]).items() if name != "cell"]
    caption = f"How we trained {NETWORKS} networks of each cell; none was replaced."
    return [Text(ABOUT), Table(["what", "value"], facts, caption), Code(REBUILD)]


def explored() -> Section:
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
            called,
            stored.networks(cell, [seed])[0].model,
            f"Seed {seed}, the first that was judged.",
            softmax=False,
            sequences=inputs(),
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


def with_figures(findings: Mapping[str, Finding]) -> Iterator[tuple[str, Finding]]:
    """Yield findings, by cell and question, with the page's figures, which stand with the cell that is shown."""
    group = shown()
    drawn: dict[str, tuple[Callable[[Group], DataFigure], ...]] = {
        f"{CELL}-step_answers": (task,),
        f"{CELL}-stable_answers": (flows,),
        f"{CELL}-single_answers": (interchange,),
    }
    for name, one in findings.items():
        yield name, replace(one, figures=tuple(draw(group) for draw in drawn.get(name, ())))


def shown() -> list[Subject]:
    """Return the network that is drawn, a subject a bit."""
    return subjects(stored.networks(CELL, [SEED]), judged=False)


def points(group: Group) -> tuple[pd.DataFrame, list[Float[np.ndarray, "_ 3"]]]:
    """Return the fixed points, and the way from each saddle with one unstable direction to either side.

    A row a point: where it stands along the three directions, in how many directions it is unstable, and what is
    answered there, or at both ends of its way.
    """
    machine = runs_of(group[0])
    states = machine.clean.states.flatten(0, 1).numpy()
    held = np.stack([subject.answered.values.ravel() for subject in group], axis=-1)
    directions, readings = joint_directions(states, held)
    middle = states.mean(0) - held.mean(0) @ directions
    found = stable_answers.find(group[0], **SEARCH)[0]
    rows = np.flatnonzero(found.fixed)
    frame = pd.DataFrame(((found.states[rows] - middle) @ readings.T).round(4), columns=pd.Index(NAMES))
    answers = stable_answers.answers_at(group, found.states[rows])
    frame = frame.assign(unstable=found.unstable_directions[rows], answer=answers, row=rows)
    # How small q is at a point is rounding, and must not choose the order.
    frame, ways = frame.sort_values(["unstable", *NAMES]).reset_index(drop=True), []
    for place, row in frame.loc[frame["unstable"] == 1, "row"].items():
        values, vectors = np.linalg.eig(found.jacobians[row])
        along = np.real(vectors[:, np.abs(values).argmax()])
        along *= np.sign(readings @ along)[np.abs(readings @ along).argmax()] / np.linalg.norm(along)
        way = [torch.as_tensor(found.states[row] + PUSH * np.array([[-1.0], [1.0]]) * along)]
        for _ in range(FOLLOWED):
            way.append(fixed_points.step(machine.dynamics, way[-1], SEARCH["silent"]).detach())
        frame.loc[place, "answer"] = " and ".join(stable_answers.answers_at(group, way[-1].numpy()))
        back, ahead = np.moveaxis((torch.stack(way).numpy() - middle) @ readings.T, 1, 0)
        ways.append(np.concatenate([back[::-1], ahead]).round(4))
    return frame.drop(columns="row"), ways


def one_interchange(group: Group) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pulses of a base, and what the head gives on it as it is and with a bit put in: (step, bit) each.

    They are of the first base, and the first source, whose bits fit what is to be seen.
    """
    machine, x = runs_of(group[0]), group[0].x.numpy()
    values = np.stack([subject.answered.values for subject in group], axis=-1)
    held, later = values[:, STEP], x[:, STEP + 1 :] != 0
    waits = ~later[:, :WAIT, BIT].any(1) & later.any(1).all(1)
    # The next pulse gives back the base's own value, so that the picture shows both ends of the change.
    following = x[np.arange(len(x)), STEP + 1 + later[:, :, BIT].argmax(1), BIT]
    changes = (np.diff(values, axis=1) != 0).any(1).all(1)
    base = int(np.flatnonzero(waits & changes & (following == held[:, BIT]))[0])
    source = int(np.flatnonzero((held != held[base]).all(1))[0])
    others = np.delete(np.arange(len(x)), [base, source])
    encodings, readings = joint_directions(machine.clean.states[others, STEP].numpy(), held[others])
    pairs = Pairs(machine, STEP, torch.tensor([base]), torch.tensor([source]), exhaustive=False)
    later_on = later_states(pairs, along_coordinate(encodings[BIT], readings[BIT])).states[0]
    own, patched = (
        np.stack([runs_of(subject).readout.answers(states).expected.detach().numpy() for subject in group], axis=-1)
        for states in (machine.clean.states[base], later_on)
    )
    return x[base], own, np.concatenate([np.full((STEP, BITS), np.nan), patched])


def flows(group: Group) -> DataFigure:
    """Draw where the network goes from each saddle with one unstable direction, without input."""
    frame, ways = points(group)

    def draw() -> Figure:
        figure, axes = new_figure(height=5.0)
        ax = _cube(axes[0, 0], frame[frame["unstable"] <= 1])
        for number, way in enumerate(ways):
            label = "_" if number else "without input, off a saddle"
            ax.plot(*seen(way).T, color=OWN, linewidth=2.0, label=label, zorder=2)
        figure_legend(figure, *ax.get_legend_handles_labels(), most=3, where="lower")
        return figure

    return _picture(
        draw,
        name="flows",
        title="What lies between two corners",
        alt=f"Lines from {len(ways)} saddles of {THIS_ONE} along the edges of the cube, each to two corners.",
        caption=f"We push the state off each saddle that has one unstable direction, by {PUSH:g} to either side, and "
        "follow it without input. The signs at a corner are the three answers there.",
        data=frame[frame["unstable"] == 1].reset_index(drop=True),
    )


def task(group: Group) -> DataFigure:
    """Draw the pulses of one sequence, and what one network answers after each step."""
    pulses, base, _ = one_interchange(group)
    return _steps(
        pulses,
        {"answer": (base, {"color": OWN})},
        name="task",
        title="The task",
        alt="Three rows, one a bit: after each pulse the answer goes to its sign, 1 or \N{MINUS SIGN}1, and stays "
        "there until the next one.",
        caption=f"What {THIS_ONE} answers to one sequence that it never saw in training. A bar is a pulse.",
    )


def interchange(group: Group) -> DataFigure:
    """Draw one interchange of one bit, with the answers before and after."""
    pulses, base, patched = one_interchange(group)
    dashed = {"color": GREY, "linestyle": "--"}
    return _steps(
        pulses,
        {"base as it is": (base, dashed), f"{NAMES[BIT]} put in": (patched, {"color": OWN})},
        STEP + 1,
        name="interchange-of-one",
        title="One interchange",
        alt=f"After {STEP + 1} steps {NAMES[BIT]} of another sequence is put in: the answer to it changes its sign "
        "until its next pulse, and the other two stay.",
        caption=f"{THIS_ONE[:1].upper()}{THIS_ONE[1:]}. At the dotted line we put in the coordinate of {NAMES[BIT]} "
        "of another sequence, whose three bits are all opposite.",
    )


def _picture(draw: Callable[[], Figure], **words: Any) -> DataFigure:
    with style():
        return DataFigure.from_figure(draw(), **words)


def _cube(ax: Axes, frame: pd.DataFrame) -> Axes:
    """Draw the cube of the bits with fixed points in it, the stable ones with the signs of their answers."""
    _ = draw_cube(NAMES, ax=ax)
    draw_fixed_points(frame, NAMES, ax=ax)
    for _, point in frame[frame["unstable"] == 0].iterrows():
        place = seen(point[list(NAMES)].to_numpy(float))
        # The two corners nearest to the middle of the picture have room above and below alone.
        inner = np.linalg.norm(place) < 1
        outward = np.array([0.0, 0.16 * np.sign(place[1])]) if inner else place / np.linalg.norm(place) * 0.2
        signs = "".join("\N{MINUS SIGN}" if part[0] == "-" else "+" for part in str(point["answer"]).split(","))
        ax.annotate(signs, tuple(place + outward), ha="center", va="center", fontsize=10)
    return ax


def _steps(
    pulses: np.ndarray, answers: Mapping[str, tuple[np.ndarray, dict[str, Any]]], at: int | None = None, **words: Any
) -> DataFigure:
    """Draw a row for each bit: pulses as bars, named answers with their looks, and a dotted line after some steps."""
    ends = np.append(np.arange(1, len(pulses) + 1), len(pulses) + 0.7)

    def draw() -> Figure:
        figure, axes = new_figure(1, BITS, height=1.35, sharex=True, sharey=True)
        for row, ax in enumerate(axes[:, 0]):
            places = np.flatnonzero(pulses[:, row])
            ax.bar(places + 1, pulses[places, row], width=0.3, color="black", label="pulse")
            if at is not None:
                ax.axvline(at, color="black", linewidth=1, linestyle=":")
            for label, (values, look) in answers.items():
                ax.step(ends, np.append(values[:, row], values[-1, row]), where="post", label=label, **look)
            ax.set(ylabel=NAMES[row], yticks=[-1, 1], ylim=(-1.4, 1.4), xlim=(0.3, len(pulses) + 0.7))
        axes[-1, 0].set_xlabel("steps read")
        legend_above(axes[0, 0])
        return figure

    steps, bits = np.indices(pulses.shape)
    data = {"steps read": steps.ravel() + 1, "bit": bits.ravel() + 1, "pulse": pulses.ravel() + 0.0}
    given = {label: values.ravel().round(4) for label, (values, _) in answers.items()}
    return _picture(draw, data=pd.DataFrame(data | given), **words)
