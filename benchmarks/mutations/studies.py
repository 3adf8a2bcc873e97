"""What goes wrong with studies: what is read as if it were held out, learned or used."""

from __future__ import annotations

from .mutation import Mutation, mutations_of

PARTS, WHOLE, RESUMED = "test_studies_parts.py", "test_studies.py", "test_studies_resumed.py"
WORDS, FIGURES = "test_studies_words.py", "test_studies_figures.py"
MUTATIONS: tuple[Mutation, ...] = (
    *mutations_of(
        "probe/studies/sample.py",
        PARTS,
        ("sample: every state stands, copies too", "found[here[first], step] = True", "found[here, step] = True"),
        ("sample: padding is data", "here = np.flatnonzero(lengths > step)", "here = np.arange(len(x))"),
    ),
    *mutations_of(
        "probe/studies/fitting.py",
        PARTS,
        ("fitting: scored on its own fit", "if place != number]", "if True]"),
        (
            "fitting: the smallest penalty always",
            "penalty = np.argmin(errors, axis=0)",
            "penalty = errors[0].astype(int) * 0",
        ),
        ("fitting: categories fitted on all", "fit(z[~part], target[~part])", "fit(z, target)"),
    ),
    *mutations_of(
        "probe/studies/scores.py",
        PARTS,
        (
            "scores: not the same sequences",
            "self.draws(seed) - other.draws(seed)",
            "self.draws(seed) - other.draws(seed + 1)",
        ),
        ("scores: around zero", "(target - target.mean()) ** 2", "target**2"),
    ),
    *mutations_of(
        "probe/studies/twins.py",
        PARTS,
        ("twins: the network itself", "twin = copy.deepcopy(model).eval()", "twin = model"),
        ("twins: gates mixed", "parameter.split(units) if", "(parameter,) if"),
        ("twins: all alike", "seed * 1_000 + number", "seed * 1_000"),
    ),
    *mutations_of(
        "probe/studies/probing.py",
        PARTS,
        ("probing: the clock left in", "left[rows] -= left[rows].mean(0)", "left[rows] -= 0"),
        ("probing: shuffled over the steps", 'np.argsort(self.bin[mixed], kind="stable")', "np.arange(len(mixed))"),
        ("probing: the last input again and again", "target.step[there] - back", "target.step[there]"),
    ),
    *mutations_of(
        "probe/studies/concepts.py",
        PARTS,
        ("concepts: padding kept", "np.where(valid, values, np.nan)", "values"),
    ),
    *mutations_of(
        "probe/studies/stack.py",
        PARTS,
        ("stack: states swapped", "begin = (parts[1], parts[0])", "begin = (parts[0], parts[1])"),
        ("stack: the lowest layer read", "states[:, -self._width :]", "states[:, : self._width]"),
    ),
    *mutations_of(
        "probe/studies/tail.py",
        PARTS,
        (
            "tail: every sequence from zero",
            "later = np.flatnonzero(lengths > steps)",
            "later = np.flatnonzero(lengths < 0)",
        ),
        (
            "tail: the first steps",
            "lengths[:, None] - steps + np.arange(steps)",
            "0 * lengths[:, None] + np.arange(steps)",
        ),
    ),
    *mutations_of(
        "probe/studies/tasks.py",
        PARTS,
        ("tasks: source and base swapped", "x[s, : lengths[s] - left], x[b,", "x[b, : lengths[b] - left], x[b,"),
    ),
    *mutations_of(
        "probe/studies/reading_words.py",
        WORDS,
        ("words: twins are never as good", "if TWIN in lost:\n", "if False:\n"),
        ("words: a clock forgotten", "if CLOCK in lost:", "if False:"),
        ("words: the last inputs forgotten", "if lost.keys() & recent:", "if False:"),
    ),
    *mutations_of(
        "probe/studies/drawing.py",
        FIGURES,
        ("drawing: names are formulas", '"text.parse_math": False', '"text.parse_math": True'),
        ("drawing: as large as it is", "except ProbeError:", "except KeyError:"),
    ),
    *mutations_of(
        "probe/studies/reading_figures.py",
        FIGURES,
        ("figures: every place", 'kind="stable").index[:PLACES]', 'kind="stable").index[:999]'),
    ),
    *mutations_of(
        "probe/studies/exchanging.py",
        WORDS,
        (
            "exchange: what the readout costs forgotten",
            "whole = one * max(left, 1) + read",
            "whole = one * max(left, 1)",
        ),
    ),
    *mutations_of(
        "probe/studies/reading.py",
        WHOLE,
        ("reading: the worst unit", "unit = int(np.argmax(", "unit = int(np.argmin("),
    ),
    *mutations_of(
        "probe/studies/asking.py",
        RESUMED,
        ("asking: any study's answer", 'finding.provenance.get("study") == parts', "True"),
        ("asking: nothing is kept", "if there is not None:", "if False:"),
        ("asking: another study overwritten", "if changed and not overwrite:", "if False:"),
    ),
    *mutations_of(
        "probe/studies/identity.py",
        RESUMED,
        ("identity: inputs forgotten", '"inputs": digest(prepared.x.numpy(), lengths)', '"inputs": digest(0)'),
    ),
)
