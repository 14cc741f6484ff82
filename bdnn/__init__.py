"""Binary deep neural networks for learning to hash, derived and verified in the notebooks.

What is named here is imported when it is first used, and so is every module, so that `import bdnn`
is quick.
"""

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_HOMES = {  # module -> what it is home to
    "baselines.classical": "BinaryAutoencoder KMeansHashing SpectralHashing SphericalHashing",
    "baselines.kernels": "BinaryReconstructiveEmbedding KernelSupervisedHashing "
    "SupervisedDiscreteHashing",
    "deep_hashing": "DeepHashing SupervisedDeepHashing",
    "files": "ModelFileError load",
    "itq": "ITQ ITQCCA",
    "metrics": "pack_codes unpack_codes",
    "sh_bdnn": "SHBDNN",
    "uh_bdnn": "UHBDNN",
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}
_MODULES = {module.name for module in pkgutil.iter_modules(__path__)}


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        value = getattr(importlib.import_module(f"bdnn.{_HOME_OF[name]}"), name)
        globals()[name] = value
        return value
    if name in _MODULES and name != "__main__":
        return importlib.import_module(f"bdnn.{name}")
    raise AttributeError(f"module 'bdnn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES} - {"__main__"})
