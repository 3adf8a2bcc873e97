"""The counter's page: `python -m reports.build_counter --findings DIR --out DIR`."""

from __future__ import annotations

import sys
from pathlib import Path

import cyclopts

from probe import Finding, ProbeError
from probe.report import Block, Code, Details, Figure, Page, Section, Table, Text

from . import story

#: In the order in which the page tells them.
QUESTIONS = (
    "running_count",
    "mechanism",
    "accuracy",
    "single_units",
    "linear_readout",
    "cell_trajectories",
    "class_means",
    "noise_margin",
    "unit_shares",
    "routes",
    "gate_shares",
    "gate_activity",
    "bit_effects",
    "state_patching",
    "directions",
    "alignment",
    "erasure",
    "steering",
    "unit_ablation",
    "other_lengths",
    "programs",
    "reduced_models",
    "quantised_states",
    "dynamics",
    "planted_networks",
)
TITLE = "What does an LSTM that counts ones learn?"


def build(findings: Path) -> Page:
    """Return the page of the findings in a folder.

    Raises:
        ProbeError: a finding is missing or damaged, or they were made by different code.
    """
    read = {question: Finding.read(findings / question) for question in QUESTIONS}
    every = [claim for finding in read.values() for claim in finding.claims]
    sections = [
        Section("In short", [Text(story.about(read)), story.networks_table(read["accuracy"])], key="in-short")
    ]
    sections += [_section(finding) for finding in read.values()]
    caption = (
        "Median over networks with its interval by order statistics; each rule was fixed in code before its result. "
        "The paired difference is trained minus untrained, seed by seed."
    )
    table = story.claims_table(every, caption, name="claims")
    sections.append(
        Section("All claims", [table, Details("How each is computed", [_definitions(read)])], key="claims")
    )
    rebuild = Code("make pages     # from the committed weights\nmake report    # with seed 0 trained afresh")
    sections.append(Section("Build it again", [rebuild], key="rebuild"))
    return Page(TITLE, story.lead(read), sections, provenance=story.versions(list(read.values())))


def _section(finding: Finding) -> Section:
    notes = {name: note for name, note in finding.notes.items() if name != story.SETUP}
    first = [notes.pop(name) for name in story.FIRST_NOTES if name in notes]
    last = [notes.pop(name) for name in story.LAST_NOTES if name in notes]
    blocks: list[Block] = [Text([*first, *notes.values()])] if first or notes else []
    for figure in finding.figures:
        behind = Table.from_frame(
            figure.data, f"The numbers behind it ({figure.name}).", name=figure.name, max_rows=12
        )
        blocks.append(Figure(figure.svg, figure.alt, figure.caption, figure.title, behind))
    if finding.claims:
        blocks.append(story.claims_brief(finding.claims))
    if last:
        blocks.append(Text(last))
    return Section(finding.title, blocks, key=finding.question.replace("_", "-"))


def _definitions(findings: dict[str, Finding]) -> Table:
    rows = [
        [claim.rule.key, claim.rule.metric, claim.rule.definition, claim.rule.source]
        for finding in findings.values()
        for claim in finding.claims
    ]
    return Table(["claim", "metric", "definition", "source"], rows, "Definitions and sources.")


def run(arguments: list[str] | None = None) -> int:
    """Build the page from the command line and return the exit code."""
    app = cyclopts.App(name="python -m reports.build_counter", help_format="plaintext", version_flags=[])

    @app.default
    def command(*, findings: Path = Path("build/findings/counter"), out: Path = Path("build/reports/counter")) -> int:
        """Build the counter's page.

        Args:
            findings: folder with a finding for each question, as `python -m analyses` writes it.
            out: folder that gets index.html.
        """
        try:
            path = build(findings).write(out / "index.html")
        except ProbeError as error:
            sys.stderr.write(f"error: {error}\n")
            return 1
        sys.stdout.write(f"{path} {path.stat().st_size} bytes\n")
        return 0

    try:
        return app(arguments, exit_on_error=False, result_action="return_value") or 0
    except cyclopts.CycloptsError:
        return 2


if __name__ == "__main__":
    sys.exit(run())
