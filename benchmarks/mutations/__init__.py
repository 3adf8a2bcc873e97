"""What `benchmarks.mutants` breaks, by the part of the library."""

from .cells_and_engine import MUTATIONS as CELLS_AND_ENGINE
from .custom_cells import MUTATIONS as CUSTOM_CELLS
from .edits_and_recording import MUTATIONS as EDITS_AND_RECORDING
from .mutation import Mutation
from .probing import MUTATIONS as PROBING
from .results import MUTATIONS as RESULTS

MUTATIONS = CELLS_AND_ENGINE + CUSTOM_CELLS + EDITS_AND_RECORDING + PROBING + RESULTS

__all__ = ["MUTATIONS", "Mutation"]
