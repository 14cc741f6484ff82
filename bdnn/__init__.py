"""Binary deep neural networks for learning to hash, derived and verified in the notebooks."""

from bdnn.base import ModelFileError, load, pack_codes, unpack_codes
from bdnn.itq import ITQ, ITQCCA
from bdnn.unsupervised import UHBDNN

__version__ = "0.1.0"
__all__ = ["ITQ", "ITQCCA", "UHBDNN", "ModelFileError", "load", "pack_codes", "unpack_codes"]
