"""What goes wrong with the explorer of a page: rival programs, and experiments that the page could not run."""

from __future__ import annotations

from .mutation import Mutation, mutations_of

MUTATIONS: tuple[Mutation, ...] = (
    *mutations_of(
        "probe/report/programs.py",
        "test_report_programs.py",
        ("programs: factor ignored", "answer = factor * answer + offset", "answer = answer + offset"),
        (
            "programs: offset before factor",
            "answer = factor * answer + offset",
            "answer = factor * (answer + offset)",
        ),
        (
            "programs: pair read the other way round",
            "return self._number(what, given[0]), self._number(what, given[1])",
            "return self._number(what, given[1]), self._number(what, given[0])",
        ),
        ("programs: a step may be infinite", "or not math.isfinite(given)", "or math.isnan(given)"),
        ("programs: further symbols pass", "        if missing or extra:\n", "        if missing:\n"),
        ("programs: missing symbols pass", "        if missing or extra:\n", "        if extra:\n"),
        ("programs: names may repeat", "if len(set(names)) != len(names):", "if False:"),
        ("programs: symbols read alike pass", "if len(symbols) != len(alphabet):", "if False:"),
    ),
    *mutations_of(
        "probe/report/experiments.py",
        "test_report_programs.py",
        ("experiments: a patch takes another row", "source_rows=[0]", "source_rows=[1]"),
        ("experiments: a seed is dropped", '{"seed": int(self.value)}', '{"seed": 0}'),
        ("experiments: half a seed", "self.value < 0 or self.value != int(self.value)", "self.value < 0"),
        ("experiments: an empty sequence passes", "if not all(len(one.", "if not any(len(one."),
    ),
    *mutations_of(
        "probe/report/embedded.py",
        "test_report_explorer.py",
        ("embedded: the layers begin with what the model gave them", "if not any(\n", "if False and not any(\n"),
        ("embedded: NaN weights pass", "weight.isfinite().all()", "not weight.isnan().all()"),
    ),
    *mutations_of(
        "probe/report/svg.py",
        "test_report_svg.py",
        ("svg: cells are summed and not averaged", "mean = total / kept", "mean = total"),
    ),
    *mutations_of(
        "probe/report/explorer.py",
        "test_report_programs.py",
        ("explorer: programs beside what has no classes", "or not has_classes(network)", "or False"),
        (
            "explorer: own programs are dropped",
            "merged(self.programs, network.programs)",
            "merged(self.programs, ())",
        ),
        ("explorer: experiments are not run", "edits.append(edit.made(", "_ = (edit.made("),
        ("explorer: another network is tried", "else names.index(experiment.network)", "else 0"),
    ),
)
