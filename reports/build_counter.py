"""`python -m reports.build_counter --findings DIR --out DIR`: builds the counter's pages."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cyclopts

from probe import Claim, Finding, ProbeError
from probe.explorer import Explorer
from probe.report import Block, Code, Details, Link, Page, Points, Section, Sentence, Text
from probe.studies.pages.sections import ANSWER, SHOWN_ROWS, anchor, in_short, section

from . import explored, story

#: The questions of each page, in the order in which it tells them; the first page has all claims.
PAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "index.html": (
        "What does an LSTM that counts ones learn?",
        ("one_cell", "mechanism", "accuracy", "other_lengths"),
    ),
    "judge.html": (
        "What stands before a harder judge?",
        (*story.LATER[1:], "running_count"),
    ),
    "states.html": (
        "What do its gates and cells show?",
        ("gate_activity", "cell_trajectories", "linear_readout"),
    ),
    "units.html": (
        "Is the count in one unit?",
        ("single_units", "unit_ablation", "unit_shares"),
    ),
    "interventions.html": (
        "What does the counter's answer follow?",
        (
            "state_patching",
            "directions",
            "alignment",
            "class_means",
            "steering",
            "erasure",
            "noise_margin",
        ),
    ),
    "mechanism.html": (
        "How does the counter count?",
        ("gate_shares", "routes", "bit_effects", "programs", "reduced_models", "quantised_states", "dynamics"),
    ),
    "recipes.html": (
        "What does the training signal decide?",
        ("training_signal", "seed_agreement"),
    ),
    "controls.html": (
        "Can these tests tell a counter from a network that does not count?",
        ("verdicts", "robustness", "planted_networks"),
    ),
}
#: A page more, where a network was trained on the machine that builds them.
HERE: dict[str, tuple[str, tuple[str, ...]]] = {
    "here.html": ("Where does the network that was trained here stand?", ("trained_here",))
}
#: How many rows of the table behind a figure are shown, where it is the result itself.
WHOLE = {
    "planted_networks": 40,
    "running_count": 60,
    "second_judgement": 40,
    "training_signal": 40,
    "trained_here": 40,
    "robustness": 40,
}
QUESTIONS = tuple(question for _, questions in PAGES.values() for question in questions)


def build(findings: Path) -> dict[str, Page]:
    """Return the pages of the findings in a folder, by file name.

    Raises:
        ProbeError: a finding is missing or damaged, or they were made by different code.
    """
    pages = PAGES | {name: page for name, page in HERE.items() if all((findings / each).is_dir() for each in page[1])}
    read = {name: Finding.read(findings / name) for _, questions in pages.values() for name in questions}
    provenance = story.versions(list(read.values()))
    explorer, sentences = explored.read(findings / "explorer")
    again = story.second_verdicts(read)
    return {
        name: Page(
            title,
            story.lead(read) if name == "index.html" else story.lead_of([read[one] for one in questions], again),
            _sections(name, questions, read, explorer, sentences),
            provenance=provenance,
        )
        for name, (title, questions) in pages.items()
    }


def _sections(
    name: str, questions: Sequence[str], read: dict[str, Finding], explorer: Explorer, sentences: Sequence[str]
) -> list[Section]:
    brief = partial(story.claims_brief, second=story.second_verdicts(read))
    answers = [section(read[one], shown_rows=WHOLE.get(one, SHOWN_ROWS), brief=brief) for one in questions]
    if name == "controls.html":
        return [*answers, _first_claims(read)]
    if name != "index.html":
        return answers
    rebuild = Code(
        "make pages     # from the committed measurements\n"
        "make report    # the same, and seed 0 trained and measured here\n"
        "make study     # trains and measures every network again: hours; what is there is kept"
    )
    networks = Details("Every network, with the strings that it misreads", [story.networks_table(read["accuracy"])])
    about = Section("What we trained, and what we compare it with", [Text(story.about(read)), networks], key="set-up")
    return [
        Section("Run it yourself", [Text([story.EXPLORE, *sentences]), explorer], key="explore"),
        about,
        *answers,
        Section("More of the evidence", _more(name, read), key="more"),
        _second_claims(read),
        Section("Build it again", [rebuild], key="rebuild"),
    ]


def _level(claims: Sequence[Claim]) -> str:
    """Return at which level the verdicts of a judgement are decided."""
    number = sum(not claim.rule.check for claim in claims)
    return f"We decide each verdict at {1 - 0.05 / number:.2%}, which is 1 - 0.05 / {number}, for there are {number}."


def _second_claims(read: dict[str, Finding]) -> Section:
    """Return the claims of the second judgement."""
    claims = [claim for name in story.LATER for claim in read[name].claims]
    caption = (
        "Judged on other networks than the first time, trained after these rules were committed: every rule of the "
        f"first judgement against the strongest control (II.), and new ones. {_level(claims)}"
    )
    said = [read["second_judgement"].notes[ANSWER], read["other_choices"].notes[ANSWER]]
    where: Sentence = [
        "How each is computed, and the first judgement with all of its claims: ",
        Link("controls", "controls.html#first-claims"),
        ".",
    ]
    first = read["accuracy"].provenance["rules_first_used"]
    table = story.claims_table(claims, read["verdicts"], first, caption, name="second-claims")
    return Section("All claims, judged again", [Text([*said, where]), table], key="claims")


def _first_claims(read: dict[str, Finding]) -> Section:
    """Return the claims of the first judgement, and how the claims of both are computed."""
    later = [claim for name in story.LATER for claim in read[name].claims]
    claims = [claim for name, finding in read.items() if name not in story.LATER for claim in finding.claims]
    caption = (
        "Median over networks with its interval by order statistics. Each rule was fixed in code before its result. "
        f"A paired difference is trained minus control, seed by seed. {_level(claims)}"
    )
    first = read["accuracy"].provenance["rules_first_used"]
    table = story.claims_table(claims, read["verdicts"], first, caption, name="claims")
    said = [story.established_of_controls(claims, read["verdicts"]), read["robustness"].notes[ANSWER]]
    how = Details("How each is computed", [story.definitions_table([*claims, *later], first)])
    return Section("All claims of the first judgement", [Text(said), table, how], key="first-claims")


def _more(name: str, read: dict[str, Finding]) -> list[Block]:
    """Return every question of the other pages with its answer in short, a list a page."""
    blocks: list[Block] = [Text("Beside each question stand the verdicts of the second judgement where it has one.")]
    later = story.second_verdicts(read)
    for other, (title, questions) in (PAGES | HERE).items():
        if other != name and all(question in read for question in questions):
            blocks.append(Text([[Link(title, other)]]))
            blocks.append(Points([in_short(read[one], f"{other}#{anchor(one)}", later) for one in questions]))
    return blocks


def write(findings: Path, out: Path) -> list[Path]:
    """Write the counter's pages, and return their paths.

    Args:
        findings: folder with a finding for each question, as `python -m analyses counter` writes it.
        out: folder that gets the pages.

    Raises:
        ProbeError: as of `build`, or a page cannot be written.
    """
    return [page.write(out / name) for name, page in build(findings).items()]


def run(arguments: list[str] | None = None) -> int:
    """Build the page from the command line and return the exit code."""
    app = cyclopts.App(name="python -m reports.build_counter", help_format="plaintext", version_flags=[])

    @app.default
    def command(*, findings: Path = Path("build/findings/counter"), out: Path = Path("build/reports/counter")) -> int:
        """Build the counter's pages.

        Args:
            findings: folder with a finding for each question, as `python -m analyses counter` writes it.
            out: folder that gets index.html and the pages beside it.
        """
        try:
            paths = write(findings, out)
        except ProbeError as error:
            sys.stderr.write(f"error: {error}\n")
            return 1
        for path in reversed(paths):
            sys.stdout.write(f"{path} {path.stat().st_size} bytes\n")
        return 0

    try:
        return app(arguments, exit_on_error=False, result_action="return_value") or 0
    except cyclopts.CycloptsError:
        return 2


if __name__ == "__main__":
    sys.exit(run())
