"""The exceptions that libraries raise on damaged files."""

from __future__ import annotations

import pickle
import struct
import tokenize
import zipfile
import zlib

ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    pickle.PickleError,
    struct.error,
    tokenize.TokenError,  # of an .npy file's header
    zipfile.BadZipFile,
    zlib.error,
)


def reason(error: BaseException) -> str:
    """Return what an error says is wrong with a file, in our words where a library has others in each version."""
    if isinstance(error, tokenize.TokenError):
        return "its header ends too early"
    if "pickle" in str(error):
        return "it holds other things than numbers"
    return str(error).partition("\n")[0][:300] or type(error).__name__
