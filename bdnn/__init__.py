"""Binary deep neural networks for learning to hash, derived and verified in the notebooks."""

from bdnn.baselines.classical import (
    BinaryAutoencoder,
    KMeansHashing,
    SpectralHashing,
    SphericalHashing,
)
from bdnn.baselines.kernels import (
    BinaryReconstructiveEmbedding,
    KernelSupervisedHashing,
    SupervisedDiscreteHashing,
)
from bdnn.deep_hashing import DeepHashing, SupervisedDeepHashing
from bdnn.files import ModelFileError, load
from bdnn.itq import ITQ, ITQCCA
from bdnn.metrics import pack_codes, unpack_codes
from bdnn.sh_bdnn import SHBDNN
from bdnn.uh_bdnn import UHBDNN

__version__ = "0.2.0"
__all__ = [
    "BinaryAutoencoder",
    "BinaryReconstructiveEmbedding",
    "DeepHashing",
    "ITQ",
    "ITQCCA",
    "KMeansHashing",
    "KernelSupervisedHashing",
    "SHBDNN",
    "SpectralHashing",
    "SphericalHashing",
    "SupervisedDeepHashing",
    "SupervisedDiscreteHashing",
    "UHBDNN",
    "ModelFileError",
    "load",
    "pack_codes",
    "unpack_codes",
]
