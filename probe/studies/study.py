"""`Study`, `Concept`, `Readout`: a network, its inputs, what its states may hold, and what it answers."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import ProbeError, require
from .definition.concepts import Concept
from .definition.readouts import Readout

if TYPE_CHECKING:
    import numpy as np

    from ..report import Page
    from .run import Progress

__all__ = ["Concept", "Readout", "Study"]


@dataclass(frozen=True, eq=False)
class Study:
    """What is asked about one network.

    Attributes:
        network: a `torch.nn.Module` that takes (batch, time, feature); or what `probe.load` returned; or the path of
            a file of weights that leaves no choice open.
        inputs: what it reads: an array or tensor (batch, time, feature), or the path of a .npy, .npz or .csv file.
        concepts: name -> what its states are thought to hold, an array aligned to (batch, time), a function of one
            sequence's inputs, or a `Concept`.
        lengths: how many steps each sequence has, (batch,); None where all have the whole time axis. What lies
            beyond is padding, and never data.
        valid: a function of one sequence's inputs, (time, feature), to whether such a sequence can occur; None where
            any can. Of states that are exchanged only those count whose spliced sequence can.
        symbols: symbol -> what the network reads for it, (feature,) or a number: one character for each input that
            occurs, which the page writes for it. A text names the features of one-hot inputs, in their order.
        name: which network of a file that holds several.
        layers: which layers are looked at, by name; None for all.
        readout: what it answers, or None where that is not known: then nothing causal can be said.
        programs: name -> what it might compute instead: a function of one sequence (a tuple with a number, or a
            tuple of features, for each step) to an answer.
        fixed_inputs: inputs under which fixed points are looked for, (symbol, feature); None takes the inputs that
            occur where they are few, and their mean otherwise.
        title: of the page.
        seed: of everything that is drawn.
    """

    network: Any
    inputs: Any
    concepts: Mapping[str, Any]
    lengths: Any = None
    valid: Callable[[np.ndarray], bool] | None = None
    symbols: Any = None
    name: str | None = None
    layers: Sequence[str] | None = None
    readout: Readout | None = None
    programs: Mapping[str, Any] = field(default_factory=dict)
    fixed_inputs: Any = None
    title: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.concepts, Mapping) or not self.concepts:
            raise ProbeError(
                "A study needs at least one concept: concepts={'name': values}, with one value for each sequence and "
                "step, or a function of a sequence's inputs."
            )
        wrong = [name for name in self.concepts if not isinstance(name, str) or not name.strip() or len(name) > 60]
        if wrong:
            raise ProbeError(f"A concept is called {str(wrong[0])[:80]!r}; give it a name of 1 to 60 letters.")
        for name, program in self.programs.items():
            if not callable(program):
                raise ProbeError(
                    f"The program {name!r} is a {type(program).__name__}; give a function of a sequence."
                )
        if self.valid is not None and not callable(self.valid):
            raise ProbeError(
                f"valid is a {type(self.valid).__name__}; give a function of one sequence's inputs to True or False."
            )
        if self.readout is not None and self.readout.concept not in self.concepts:
            from ..errors import unknown

            raise ProbeError("The readout: " + unknown("concept", self.readout.concept, self.concepts))
        if isinstance(self.layers, str):
            raise ProbeError(f"layers={self.layers!r} must be several names: layers=[{self.layers!r}].")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise ProbeError(f"seed={self.seed!r} must be a whole number from 0.")

    def run(
        self,
        folder: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        progress: Callable[[Progress], None] | None = None,
    ) -> Page:
        """Ask everything, and write the page to `index.html` in a folder.

        Each answer is written into `findings/` in the folder as soon as it is known. A run that was interrupted goes
        on there: what was answered about the same network, inputs, concepts, seed and code is not asked again.

        Args:
            folder: where the page goes; it is made.
            overwrite: replace the answers of another study that lie there.
            progress: called when a question is begun and answered.

        Returns:
            The page that was written.

        Raises:
            ProbeError: something that was given does not fit, or the folder holds another study's answers.
        """
        require("Study.run", "study", "pandas", "scipy", "sklearn", "matplotlib", "seaborn")
        from .run import run

        return run(self, folder, overwrite=overwrite, progress=progress)
