# %% [markdown]
# # Solutions to notebook 14: the weights
#
# Try each exercise on paper or in a cell of your own before you read on. Equation numbers are those of notebook 14, where no other is named.

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %%
import warnings

import numpy as np

from bdnn import metrics
from bdnn.course.explorer import MEASURES, N_TRAIN, Grid, defaults, grid_points
from bdnn.course.explorer import make_estimator, observe
from bdnn.data import load

# %%
warnings.filterwarnings("ignore", message="the equality term")  # weights that are too large
dataset = load("mnist5k")
X = dataset.train[:N_TRAIN]
paper = defaults("UHBDNN")
grid = Grid.read()


def measures(values, seeds, **options):
    """Mean precision and mAP over seeds, in percent."""
    rows = []
    for seed in seeds:
        row = observe("UHBDNN", values, seed, dataset, **options)
        rows.append([row["precision_at_2"], row["map_standard"]])
    return 100 * np.mean(rows, axis=0)


# %% [markdown]
# ## 14.1 Only ratios count for the encoder
#
# For given $B$ the encoder minimises $J_{\text{enc}}$, Eq. (4) of notebook 08, a sum of four terms, each with one of $\lambda_1,\dots,\lambda_4$ in front. With $t\lambda_i$ in their place it is $t\,J_{\text{enc}}$, which has the same minima.
#
# Two things do change. The decoder's ridge has $\lambda_1$ next to the reconstruction, whose weight is 1 (Eq. (3) of notebook 08); for small $\lambda_1$ this is hardly felt. And the update of the codes weighs $\lambda_2$ against the reconstruction: with a large $t$ the codes follow the encoder, with a small one the decoder. With `max_alternations=0` the codes are those of ITQ, and only the encoder is trained: then the codes of the queries must be the same, as far as L-BFGS gets in thirty iterations from the same start.

# %%
several = {name: 10 * value for name, value in paper.items() if name != "n_bits"}
codes = []
for values in (paper, paper | several):
    estimator = make_estimator("UHBDNN", values, max_alternations=0, dtype="float64")
    codes.append(estimator.fit(X).transform(dataset.query))
assert np.mean(codes[0] == codes[1]) > 0.99
print("more than 99 % of the bits agree")

# %% [markdown]
# With alternations they part, and the larger weights, under which the codes follow the encoder, lose:

# %% tags=["nbval-ignore-output"]
for name, values in (("paper's", paper), ("all times 10", paper | several)):
    P, mAP = measures(values, range(3))
    print(f"{name:12}  P@r=2 {P:.1f} %, mAP {mAP:.1f} %")

# %% [markdown]
# ## 14.2 The mean in the independence term
#
# $\tfrac1mHH^\top=\tfrac1m\sum_ih_ih_i^\top$, and with $h_i=\bar h+(h_i-\bar h)$ the mixed terms vanish, since $\sum_i(h_i-\bar h)=0$: what is left is $\bar h\bar h^\top+\tfrac1m\sum_i(h_i-\bar h)(h_i-\bar h)^\top$, Eq. (3).
#
# $\tfrac{\lambda_4}{2m}\|H\mathbf 1\|^2=\tfrac{\lambda_4}{2m}\|m\bar h\|^2=\tfrac{\lambda_4m}2\|\bar h\|^2$. The equality term is $\tfrac{\lambda_2}2$ times the mean of $\|h_i-b_i\|^2$. So $\lambda_4m$ stands beside $\lambda_2$, and $m=50{,}000$ makes them equal. For the 60,000 digits of MNIST the balance term is as strong as the equality term; for our 1,000 it is 50 times weaker, and $\lambda_4=5\cdot10^{-5}$ would be its match. At $10^{-4}$ and beyond the grid shows what the term does: better balance, and a worse search.

# %%
H = np.random.default_rng(0).normal(0.3, 1, (4, 50))
h = H.mean(axis=1, keepdims=True)
errors = (
    np.abs(H @ H.T / 50 - np.cov(H, bias=True) - h @ h.T).max(),
    abs(np.sum(H.sum(axis=1) ** 2) / (2 * 50) - 50 / 2 * np.sum(h**2)),
)
assert max(errors) < 1e-12
print("both sides agree to about 1e-15")

# %% [markdown]
# ## 14.3 Without both

# %% tags=["nbval-ignore-output"]
for name, moved in (
    ("the paper's", {}),
    ("λ3 = 0", {"lambda3": 0.0}),
    ("λ4 = 0", {"lambda4": 0.0}),
    ("both 0", {"lambda3": 0.0, "lambda4": 0.0}),
    ("λ3 = 0, λ4 = 1e-4", {"lambda3": 0.0, "lambda4": 1e-4}),
    ("λ3 = 0, λ4 = 1e-3", {"lambda3": 0.0, "lambda4": 1e-3}),
):
    P, mAP = measures(paper | moved, range(3))
    print(f"{name:18}  P@r=2 {P:.1f} %, mAP {mAP:.1f} %")

# %% [markdown]
# No: with $\lambda_3=0$ the balance term may be 0 or as printed, and the search moves by no more than from seed to seed. A hundred and a thousand times as much cost some points in both measures, as they do beside the independence term. The codes that $H$ follows are nearly balanced already.
#
# ## 14.4 Better than the paper's point?

# %%
here = [grid.spread("UHBDNN", paper, name)[0] for name in MEASURES[:2]]
better = {"both": [], "precision": [], "mAP": []}
for values in grid_points("UHBDNN"):
    worst = [grid.spread("UHBDNN", values, name)[1] for name in MEASURES[:2]]
    wins = [w > h for w, h in zip(worst, here)]
    if values["n_bits"] == 16:
        better["both"] += [values] * all(wins)
        better["precision"] += [values] * wins[0]
        better["mAP"] += [values] * wins[1]

# %%
for name, found in better.items():
    print(f"{name}: {len(found)} of the points with 16 bits")
    for values in found:
        print("   ", {k: v for k, v in values.items() if v != paper[k]})

# %% [markdown]
# In both measures no point wins, and none in mAP. One wins in precision: without equality and independence, where the network stays near the principal components. Its mAP is five points lower. The worst of five seeds is a strict judge; a test that knows the interval of the pairs, as in the notebook, sees more.
#
# ## 14.5 The way matters

# %%
far = make_estimator("UHBDNN", paper | {"lambda2": 50.0}).fit(X)
on = make_estimator("UHBDNN", paper).fit(X, start=far)
fresh = make_estimator("UHBDNN", paper).fit(X)

# %% tags=["nbval-ignore-output"]
for name, estimator in (("from scratch", fresh), ("from λ2 = 50", on)):
    codes = estimator.transform(dataset.query), estimator.transform(dataset.database)
    P = 100 * metrics.precision_at_radius(*codes, dataset.relevant)
    J = min(entry["objective"] for entry in estimator.history_)
    print(f"{name}: J = {J:.4f}, P@2 {P:.1f} %")
print(f"bits that agree: {np.mean(on.codes_ == fresh.codes_):.1%}")

# %%
ends = [min(entry["objective"] for entry in e.history_) for e in (fresh, on)]
assert abs(ends[0] - ends[1]) < 0.02 * ends[0]
assert 0.02 < np.mean(on.codes_ != fresh.codes_) < 0.2
print("the objectives differ by 2 % at most, about one bit in ten is another")

# %% [markdown]
# Both end at nearly the same height, with other codes. Alternating goes downhill from where it starts, and there are many valleys.
