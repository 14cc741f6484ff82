"""One of every estimator, with settings by which it trains in a moment."""

import bdnn

NETWORK = {"max_alternations": 1, "max_iter": 5, "hidden": (4, 4)}
KERNEL = {"n_anchors": 10}
SETTINGS = {
    "BinaryAutoencoder": {"max_iter": 2, "n_axes": 5},
    "BinaryReconstructiveEmbedding": KERNEL | {"n_samples": 200, "max_iter": 1},
    "DeepHashing": {"max_iter": 5, "hidden": (5, 4)},
    "ITQ": {"n_iter": 10},
    "ITQCCA": {"n_iter": 10},
    "KMeansHashing": {"max_iter": 10},
    "KernelSupervisedHashing": KERNEL | {"n_samples": 300, "max_iter": 10},
    "SHBDNN": NETWORK,
    "SpectralHashing": {},
    "SphericalHashing": {"max_iter": 10},
    "SupervisedDeepHashing": {"max_iter": 5, "hidden": (5, 4)},
    "SupervisedDiscreteHashing": KERNEL | {"max_alternations": 2},
    "UHBDNN": NETWORK,
}


def make(name, n_bits=4, **options):
    """An estimator by its name."""
    return getattr(bdnn, name)(n_bits, **SETTINGS[name] | options)
