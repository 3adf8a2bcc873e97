"""`Study`, `Concept`, `Readout`: a network, its inputs, what its states may hold, and what it answers."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import ProbeError, unknown
from ..evidence.measurements import CONTROLS
from ..subjects.concepts import Concept, brief, check_given
from ..subjects.readouts import Readout

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from ..evidence.findings import Finding
    from ..report import Page
    from ..subjects.subject import Subject
    from .progress import Progressing
    from .verify import Again

__all__ = ["Concept", "Readout", "Study"]


def _is_whole(value: Any, least: int) -> bool:
    return type(value) is int and value >= least


def _are_several(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _takes_three(value: Any) -> bool:
    with suppress(ValueError):  # of a callable whose arguments Python does not tell
        try:
            inspect.signature(value).bind(None, None, None)
        except TypeError:
            return False
    return callable(value)


#: Parts of a study, what each must be where it is given, and how a message says it.
_WANTED: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("readout", lambda value: isinstance(value, Readout), "probe.Readout('name of a concept', function=...)"),
    ("controls", lambda value: isinstance(value, str) or _are_several(value), "names, in brackets"),
    ("title", lambda value: isinstance(value, str), "a text"),
    ("programs", lambda value: isinstance(value, Mapping), "a table: {'name': function of a sequence}"),
    ("rules", _are_several, "several probe.evidence.Rule, in brackets"),
    ("call", _takes_three, "a function of the model, inputs and lengths: lambda model, x, lengths: model(x)"),
    ("valid", callable, "a function of one sequence's inputs to True or False"),
    ("layer", lambda value: isinstance(value, str) or _are_several(value), "a name, or several in brackets"),
    ("questions", _are_several, "names such as 'noise-margin', or probe.questions.Question, in brackets"),
    ("seed", lambda value: _is_whole(value, 0), "a whole number from 0"),
    ("family", lambda value: _is_whole(value, 1), "a whole number from 1, or None"),
    ("version", lambda value: _is_whole(value, 1), "a whole number from 1, or None"),
    (
        "tolerance",
        lambda value: type(value) in (int, float) and 0 <= value < float("inf"),
        "a number such as 1e-4, or None for the type's own",
    ),
)


@dataclass(frozen=True, eq=False)
class Study:
    """One network or many, with their inputs, concepts and readout: everything that is needed to study them.

    Attributes:
        networks: one network: a `torch.nn.Module` that takes (batch, time, feature), the result of `probe.load`, or
            the path of a file of weights that leaves no choice open. Or many: a list of them, which are trained
            ones, several `probe.evidence.Network`, or a table role -> networks, where a pattern such as
            "trained/*.safetensors" stands for all files that it matches. Networks of the role `own initialisation`
            are paired with trained ones by their files' names.
        inputs: an array or tensor (batch, time, feature), or the path of a .npy, .npz or .csv file; of a network that
            embeds them token ids, whole numbers (batch, time).
        concepts: name -> what the states may hold: an array aligned to (batch, time), a function of one sequence's
            inputs, or a `Concept`.
        lengths: how many steps each sequence has, (batch,); None if all have the whole time axis. Later steps are
            padding and are not used.
        valid: a function that takes one sequence's inputs, (time, feature), and returns whether such a sequence can
            occur; None if any can. A patched state counts only if its spliced sequence can occur.
        symbols: symbol -> the input that it stands for, (feature,) or a number. The page writes this character for
            the input; every input that occurs needs one. A text names the features of one-hot inputs in order; of
            token ids a text or a list names the ids in order, and without one each is called by its number.
        name: the name of the network, if the file holds several.
        layer: the name of the layer to study, or several in brackets; None for all.
        readout: what the network answers. With None it is the network's own output, if that can be the answer to
            exactly one concept (see `Readout`), after every step if a head gives scores of each; otherwise the page
            says why not, and can say nothing causal.
        programs: name -> a rival program that the network might compute: a function that takes one sequence (a tuple
            with a number, or a tuple of features, for each step) and returns an answer.
        fixed_inputs: the inputs under which fixed points are searched, (symbol, feature), or a table name -> input.
            With None we take each distinct input if there are at most four, and their mean otherwise.
        title: the title of the page.
        seed: the seed of all random numbers.
        questions: which questions are asked, by name, or `probe.questions.Question`s of your own; None for every
            question whose needs a network meets. The name `usual` stands for these too, beside your own.
        rules: rules of your own, judged beside those of the questions.
        tolerance: how far recomputed states may lie from those that the network computed, in every run of the study:
            the `tolerance` of `probe.record`. The page says it where it is given.
        controls: what the study itself puts beside each trained network: `random weights`, a `fitted head`, both or
            none. Networks that were given with the same pair stand beside it as well.
        family: how many verdicts are decided together; None for those of the study's rules.
        version: a whole number from 1, raised by hand when a function changes. What is measured of several networks
            is then tied to weights, inputs, this number, and the version, roles and settings of each question but
            for functions, the same on all processors; with None, to the code of each function.
        call: how the model is called, where that is not `model(inputs)`: a function that takes the model, inputs
            (batch, time, feature) or token ids (batch, time), and how many steps each sequence has, (batch,), and
            returns what the model returns, for batches of any size. For a model that has time first, `lambda model,
            x, lengths: model(x.transpose(0, 1)).transpose(0, 1)`. It must call the model that it is given.
        groups: a value for each sequence, (batch,), such as its speaker, story or animal: what is fitted on some
            sequences is scored on those of other groups, whole groups lie in one fold, and intervals over sequences
            are over groups. None where each sequence stands for itself; see `probe.linear_probe`.
    """

    networks: Any
    inputs: Any
    concepts: Mapping[str, Any]
    lengths: Any = None
    valid: Callable[[np.ndarray], bool] | None = None
    symbols: Any = None
    name: str | None = None
    layer: str | Sequence[str] | None = None
    readout: Readout | None = None
    programs: Mapping[str, Any] = field(default_factory=dict)
    fixed_inputs: Any = None
    title: str = ""
    seed: int = 0
    questions: Sequence[Any] | None = None
    rules: Sequence[Any] = ()
    tolerance: float | None = None
    controls: Sequence[str] = CONTROLS
    family: int | None = None
    version: int | None = None
    groups: Any = None
    call: Callable[[Any, Any, Any], Any] | None = None

    @classmethod
    def of(cls, subjects: Sequence[Subject], **settings: Any) -> Study:
        """Return a study of networks that are prepared, with the controls that stand among them and no others.

        Args:
            subjects: the networks with inputs, concepts and readouts; those of one network are its several answers.
            settings: further attributes of the study: questions, rules, title, seed, family, version, controls.

        Raises:
            ProbeError: as of `Study`.
        """
        first, *_ = subjects
        concepts = {name: one.values for name, one in first.concepts.items()}
        settings.setdefault("controls", ())
        return cls(tuple(subjects), first.x, concepts, **settings)

    def __post_init__(self) -> None:
        self._check_concepts()
        for what, right, wanted in _WANTED:
            value, default = getattr(self, what), type(self).__dataclass_fields__[what].default
            if not (right(value) or (value is None and default is None)):
                raise ProbeError(f"{what} is {brief(value)}; give {wanted}.")
        for name, program in self.programs.items():
            if not callable(program):
                raise ProbeError(f"The program {name!r} is {brief(program)}; give a function of a sequence.")
        if self.readout is not None and self.readout.concept not in self.concepts:
            raise ProbeError("The readout: " + unknown("concept", self.readout.concept, self.concepts))
        strange = [
            one
            for one in ([self.controls] if isinstance(self.controls, str) else self.controls)
            if one not in CONTROLS
        ]
        if strange:
            raise ProbeError(unknown("control that a study makes", strange[0], CONTROLS))
        from .networks import evaluating
        from .prepare import check

        with evaluating(self.networks):
            check(self)

    def _check_concepts(self) -> None:
        if not isinstance(self.concepts, Mapping) or not self.concepts:
            raise ProbeError(
                "A study needs at least one concept: concepts={'name': values}, with one value for each sequence and "
                "step, or a function of a sequence's inputs."
            )
        wrong = [name for name in self.concepts if not isinstance(name, str) or not name.strip() or len(name) > 60]
        if wrong:
            raise ProbeError(f"A concept is called {str(wrong[0])[:80]!r}; give it a name of 1 to 60 letters.")
        for name, concept in self.concepts.items():
            check_given(name, concept, None)

    def __repr__(self) -> str:
        concepts, readout = ", ".join(self.concepts), f", readout={self.readout.concept}" if self.readout else ""
        return f"Study({brief(self.networks)}, inputs={brief(self.inputs)}, concepts={concepts}{readout})"

    def run(
        self,
        folder: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        progress: Progressing = "auto",
        jobs: int = 1,
        figures: str | os.PathLike[str] | None = None,
    ) -> Page:
        """Answer every question, and write the page to `index.html` in a folder.

        What is measured is written into `measured/` in the folder at once. If a run was interrupted, the next run
        reuses what was measured for the same network, inputs, concepts, readout, programs, seed, versions of the
        questions and version of rnn-probe. Verdicts, sentences and pictures are made anew, in `findings/`. Networks
        can be added to a study; what was measured of the others is reused. Networks are studied in evaluation mode,
        and each of their modules is left in the mode that it was in.

        Args:
            folder: where the page is written; it is made if it does not exist.
            overwrite: remove all answers in the folder, also those of another study, and measure everything anew.
            progress: `auto` shows on stderr how far it is, with a bar in a terminal and in a notebook, and elsewhere
                a line with its time for each question that is answered; of many networks, for each that is measured
                as well. None or False shows nothing. A function is called with a `Progress` each time.
            jobs: how many networks are measured at a time, each in a process on one thread.
            figures: a folder that gets every figure for papers as SVG, PDF and PNG, in a folder for each question.

        Returns:
            The page that was written.

        Raises:
            ProbeError: a part of the study does not fit, or the folder holds the answers of another study.
        """
        from .networks import evaluating
        from .progress import shown
        from .run import run

        with shown(progress) as report, evaluating(self.networks):
            return run(self, folder, report, overwrite=overwrite, jobs=jobs, figures=figures)

    def measure(
        self,
        path: str | os.PathLike[str],
        *,
        parts: str | os.PathLike[str],
        jobs: int = 1,
        progress: Progressing = "auto",
    ) -> int:
        """Measure what is missing of several networks, pack it into one file, and return of how many that was so.

        Args:
            path: the file, NAME.csv.xz. What it holds of the same networks and versions of questions stays.
            parts: folder of the parts, one a network, that an interrupted run leaves and the next goes on from.
            jobs: how many networks are measured at a time, each in a process on one thread.
            progress: as of `run`, of each network that is measured.

        Raises:
            ProbeError: a part of the study does not fit, a file cannot be read or written, or a worker died.
        """
        from .networks import evaluating
        from .progress import shown
        from .run import measure

        with shown(progress) as report, evaluating(self.networks):
            return measure(self, path, parts, report, jobs=jobs)

    def findings(self, path: str | os.PathLike[str]) -> dict[str, Finding]:
        """Return what was measured, judged: a finding for each question by its name.

        Args:
            path: what `measure` wrote.

        Raises:
            ProbeError: something is missing in the file, or was measured on other networks or in another version.
        """
        from .networks import evaluating
        from .run import findings

        with evaluating(self.networks):
            return {one.question: one for one in findings(self, path)}

    def tables(self, path: str | os.PathLike[str]) -> dict[str, pd.DataFrame]:
        """Return what was measured: the table of each question by its name.

        Args:
            path: what `measure` wrote.

        Raises:
            ProbeError: as of `findings`.
        """
        from .networks import evaluating
        from .run import whole

        with evaluating(self.networks):
            return whole(self, path).tables()

    def verify(
        self, path: str | os.PathLike[str], members: Sequence[str] | None = None, *, jobs: int = 1
    ) -> Iterator[Again]:
        """Measure networks again, and yield what moved from what is stored by more than rounding moves it.

        Args:
            path: what `measure` wrote.
            members: the names of trained networks and of those that stand alone; None for all.
            jobs: how many are measured at a time.

        Raises:
            ProbeError: something is missing in the file, or there is no such network.
        """
        from .verify import verify

        return verify(self, path, members, jobs=jobs)
