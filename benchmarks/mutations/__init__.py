"""What `benchmarks.mutants` breaks by hand: the lines that encode a theorem or a contract."""

from .drawing import MUTATIONS as DRAWING
from .editing import MUTATIONS as EDITING
from .measuring import MUTATIONS as MEASURING
from .mutation import Mutation, MutationError
from .running import MUTATIONS as RUNNING

MUTATIONS = (*RUNNING, *EDITING, *MEASURING, *DRAWING)

__all__ = ["MUTATIONS", "Mutation", "MutationError"]
