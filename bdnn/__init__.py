"""Binary deep neural networks for learning to hash, derived and verified in the notebooks."""

from bdnn.base import ModelFileError, load, pack_codes, unpack_codes

__version__ = "0.1.0"
__all__ = ["ModelFileError", "load", "pack_codes", "unpack_codes"]
