"""What `benchmarks.mutants` breaks, by the part of the project."""

from .abstraction import MUTATIONS as ABSTRACTION
from .alignment import MUTATIONS as ALIGNMENT
from .causal import MUTATIONS as CAUSAL
from .cells_and_engine import MUTATIONS as CELLS_AND_ENGINE
from .custom_cells import MUTATIONS as CUSTOM_CELLS
from .decomposition import MUTATIONS as DECOMPOSITION
from .edits import MUTATIONS as EDITS
from .explorer import MUTATIONS as EXPLORER
from .foreign_loading import MUTATIONS as FOREIGN_LOADING
from .layers_and_calls import MUTATIONS as LAYERS_AND_CALLS
from .loading import MUTATIONS as LOADING
from .mutation import Mutation
from .probing import MUTATIONS as PROBING
from .recordings import MUTATIONS as RECORDINGS
from .results import MUTATIONS as RESULTS
from .studies import MUTATIONS as STUDIES
from .subjects import MUTATIONS as SUBJECTS
from .sweeps_and_streaming import MUTATIONS as SWEEPS_AND_STREAMING

MUTATIONS = (
    *CELLS_AND_ENGINE,
    *CUSTOM_CELLS,
    *LAYERS_AND_CALLS,
    *LOADING,
    *FOREIGN_LOADING,
    *EDITS,
    *RECORDINGS,
    *SWEEPS_AND_STREAMING,
    *PROBING,
    *RESULTS,
    *SUBJECTS,
    *CAUSAL,
    *ALIGNMENT,
    *DECOMPOSITION,
    *ABSTRACTION,
    *EXPLORER,
    *STUDIES,
)

__all__ = ["MUTATIONS", "Mutation"]
