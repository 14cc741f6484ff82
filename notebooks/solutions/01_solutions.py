# %% [markdown]
# # Solutions to notebook 01: data

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from bdnn.data import load, nearest_neighbours
from bdnn.metrics import mean_average_precision
from bdnn.course.plotting import image_grid

# %% [markdown]
# ## 1.1 Which pixels make the difference on `digits`?
#
# The three scalings again, now in 64 dimensions with values 0 to 16.

# %%
digits = load("digits")
low = digits.train.min(axis=0)
ranges = np.ptp(digits.train, axis=0)
changing = ranges > 0


def share_kept(divisor, columns=changing):
    scaled = [(X[:, columns] - low[columns]) / divisor for X in (digits.query, digits.database)]
    found = nearest_neighbours(*(X.astype(np.float64) for X in scaled), 50)
    return np.mean([np.isin(a, b).mean() for a, b in zip(found, digits.relevant)])


for name, divisor in (
    ("one number", ranges.max()),
    ("range", ranges[changing]),
    ("deviation", digits.train.std(axis=0)[changing]),
):
    print(f"{name:10} {100 * share_kept(divisor):5.1f} % of the neighbours kept")

# %% [markdown]
# Now the range does harm as well. The pixels whose range is small but not 0 are stretched most: where at most a grey level of 2 was ever seen, that level becomes a 1, like full ink elsewhere. How large can the effect of one pixel be? The share of the squared distances that these pixels contribute tells, before and after.

# %%
faint = changing & (ranges < 16)
print("ranges of the faint pixels:", np.sort(ranges[faint]).astype(int))
spread = digits.train.var(axis=0)[changing]  # mean squared difference of two pictures, halved
for name, divisor in (("one number", 16), ("range", ranges[changing])):
    parts = spread / np.square(divisor)
    print(f"{name:10} faint pixels give {100 * parts[faint[changing]].sum() / parts.sum():.1f} %")

# %%
kept = share_kept(np.where(faint, 16, ranges)[changing])
print(f"with the faint pixels left alone, {100 * kept:.1f} % of the neighbours are kept")
assert kept == 1

# %% [markdown]
# So the pixels of small range are the whole difference: without stretching them, the division by ranges is a division by one number.
#
# ## 1.2 How good is a code that knows nothing?
#
# All codes equal, all distances 0: a stable ranking is the order of the database.

# %%
data = load("mnist5k", ground_truth="labels")
labels_query, labels_database = data.relevant
nothing_query, nothing_database = np.ones((1000, 1)), np.ones((4000, 1))
for name, labels in (("sorted", np.sort(labels_database)), ("shuffled", labels_database)):
    score = mean_average_precision(nothing_query, nothing_database, (labels_query, labels))
    zeros = labels_query == 0
    zero = mean_average_precision(
        nothing_query[zeros], nothing_database, (labels_query[zeros], labels)
    )
    print(f"{name:9} mAP {100 * score:.1f} %, for queries of class 0 alone {100 * zero:.1f} %")

# %% [markdown]
# On the sorted database the code that knows nothing is perfect for zeros, and its mean is more than twice the 10 % that chance gives to ten equal classes. On the shuffled one it gets about these 10 %. Codes that know something have ties as well, and profit in the same way.
#
# ## 1.3 From 50 neighbours to 400
#
# A class has 400 pictures in the database. Of the $k$ nearest, a share is of the right class (precision); of the class, a share is among the $k$ nearest (recall).

# %%
many = load("mnist5k", n_neighbors=400)
same = many.labels.database[many.relevant] == many.labels.query[:, None]
k = np.arange(1, 401)
precision = same.cumsum(axis=1).mean(axis=0) / k
recall = same.cumsum(axis=1).mean(axis=0) / 400
for shown in (1, 50, 400):
    print(f"k = {shown:3}: precision {precision[shown - 1]:.3f}, recall {recall[shown - 1]:.3f}")

# %%
fig, ax = plt.subplots(figsize=(6.0, 3.0))
_ = ax.plot(k, 100 * precision, label="precision")
_ = ax.plot(k, 100 * recall, label="recall")
_ = ax.set(xlabel="$k$", ylabel="%", ylim=(0, 100))
_ = ax.legend()

# %% [markdown]
# At $k=400$ both are the same number, since as many pictures are taken as there are right ones: Euclidean distance alone finds two fifths of a class. That is the room which supervised methods have.
#
# ## 1.4 Which pictures are everybody's neighbours?

# %%
data = load("mnist5k")
counts = np.bincount(data.relevant.ravel(), minlength=len(data.database))
hubs = np.argsort(-counts, kind="stable")[:20]
print(f"mean {counts.mean():.1f}, median {np.median(counts):.0f}, largest {counts.max()}", end=", ")
print(f"{np.sum(counts == 0)} pictures are nobody's neighbours")

# %%
fig = plt.figure(figsize=(7.0, 1.9))
pictures = data.database[hubs].reshape(-1, *data.image_shape)
_ = image_grid(fig, pictures, [str(c) for c in counts[hubs]])

# %%
distance = np.linalg.norm(data.database - data.database.mean(axis=0), axis=1)
print(f"mean distance from the mean picture: hubs {distance[hubs].mean():.0f}", end=", ")
print(f"all {distance.mean():.0f}, nobody's neighbours {distance[counts == 0].mean():.0f}")
assert distance[hubs].mean() < distance.mean() < distance[counts == 0].mean()

# %% [markdown]
# The most frequent neighbours are plain digits, most of them nearly upright and none of them bold; they lie nearer to the mean picture than others, and in many dimensions what is nearer to the mean is nearer to everything. The ones that nobody asks for are far out.
#
# ## 1.5 Vectors of your own, right and wrong

# %%
folder = Path(tempfile.mkdtemp())
rng = np.random.default_rng(0)
vectors, labels = rng.standard_normal((200, 12)), rng.integers(0, 3, size=200)
np.savez(folder / "mine.npz", X=vectors, y=labels)
print(load(folder / "mine.npz", n_neighbors=10, n_query=40))

# %%
broken = vectors.copy()
broken[3, 5] = np.nan
np.savez(folder / "nan.npz", X=broken)
np.savez(folder / "short.npz", X=vectors, y=labels[:-1])
for file, k in (("nan.npz", 10), ("short.npz", 10), ("mine.npz", 1000), ("absent.npz", 10)):
    try:
        load(folder / file, n_neighbors=k)
    except (ValueError, FileNotFoundError) as error:
        print(f"{type(error).__name__}: {str(error).replace(str(folder), 'FOLDER')}")

# %% [markdown]
# Each message says what is wrong and what was expected; nothing was trained on a broken file.
