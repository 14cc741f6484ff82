# %% [markdown]
# # Solutions to notebook 18: your own data

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %%
import contextlib
import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import bdnn
from bdnn.__main__ import main
from bdnn.data import nearest_neighbours
from bdnn.metrics import hamming_distances, mean_average_precision

X, digit = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(X))
X, digit = X[order], digit[order]
database, query, y, y_query = X[:-200], X[-200:], digit[:-200], digit[-200:]

# %% [markdown]
# ## 18.1 Another form of the same file
#
# `main` is what `python -m bdnn` calls; it returns the exit code.

# %%
folder = Path(tempfile.mkdtemp())
np.savetxt(folder / "plain.csv", database, delimiter=";", fmt="%g")
np.save(folder / "digits.npy", y)
with contextlib.chdir(folder):
    code = main("train plain.csv --labels digits.npy --method itq --bits 8".split())

# %%
same = bdnn.ITQ(8).fit(database.astype(np.float32))
print(code, (bdnn.load(folder / "model.bdnn").encode(query) == same.encode(query)).all())

# %% [markdown]
# ## 18.2 One feature in another unit

# %%
factor = np.where(np.arange(64) == 20, 1000, 1)
relevant = nearest_neighbours(query, database, 50)


def neighbours_kept(model, factor):
    model.fit(database * factor)
    return mean_average_precision(
        model.transform(query * factor), model.transform(database * factor), relevant
    )


for name, model, unit in [
    ("as they are", bdnn.ITQ(32, dtype="float64"), 1),
    ("one pixel times 1,000", bdnn.ITQ(32, dtype="float64"), factor),
    ("the same, scaled", make_pipeline(StandardScaler(), bdnn.ITQ(32, dtype="float64")), factor),
]:
    print(f"{name:22} mAP {neighbours_kept(model, unit):.2f}")

# %% [markdown]
# The one large pixel is the first principal direction, and the rotation of ITQ spreads it over *all* bits: every bit asks the same question. The scaler takes the unit out again. It is not free, since it also blows up the pixels of the margin, which hardly ever change; where all features have one unit already, leave it out.
#
# ## 18.3 Queries that the model has seen

# %%
model = bdnn.ITQ(32, dtype="float64").fit(database)
codes = model.transform(database)
for name, some in {"new": query, "half copies": np.vstack([query, database[:200]])}.items():
    relevant = nearest_neighbours(some, database, 3)
    print(f"{name:12}mAP {mean_average_precision(model.transform(some), codes, relevant):.2f}")

# %% [markdown]
# The model is the same. A copy is its own nearest neighbour and stands first in its list, so a third of its right answers costs nothing. The figure has risen, and says less about the queries that will come.
#
# ## 18.4 Balls of radius 2

# %%
for n_bits in (8, 16, 32):
    model = bdnn.ITQ(n_bits, dtype="float64").fit(database)
    inside = (hamming_distances(model.transform(query), model.transform(database)) <= 2).sum(axis=1)
    print(
        f"{n_bits:2} bits: median {np.median(inside):3.0f} items, {np.mean(inside == 0):.0%} empty"
    )

# %% [markdown]
# With 8 bits a ball holds a good part of the database, with 32 hardly anything. For a look-up in buckets of these 1,597 digits one would take 16 bits: the larger the database, the more bits a ball can afford.
