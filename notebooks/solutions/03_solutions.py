# %% [markdown]
# # Solutions to notebook 03: ITQ
#
# Try each exercise on paper or in a cell of your own before you read on. Equation numbers are those of notebook 03.

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %%
import matplotlib.pyplot as plt
import numpy as np

from bdnn.metrics import sgn
from bdnn.data import load
from bdnn.itq import ITQ, ITQCCA, itq_rotation, principal_directions
from bdnn.metrics import evaluate, hamming_distances
from bdnn.course.plotting import MARKERS

# %%
data = load("mnist5k")
X, X_query = (Z.T.astype(np.float64) / 255 for Z in (data.train, data.query))
mean, P = principal_directions(X, 32)
V, V_query = P.T @ (X - mean), P.T @ (X_query - mean)
y = data.labels.train

# %% [markdown]
# ## 3.1 Signed permutations
#
# $\Pi$ is orthogonal, so $\|\Pi B-\Pi RV\|=\|B-RV\|$. It permutes the entries of a column and changes some signs, so $\Pi B$ is a matrix of signs again: the pair $(\Pi B,\Pi R)$ is admissible and has the same loss. All codes get their bits permuted and some bits flipped *in every code alike*, which changes no distance. There are $L!\,2^L$ signed permutations, so every minimum comes at least $L!\,2^L$ times; for 32 bits that is more than $10^{45}$.
#
# If $\det R=-1$, change the sign of one row: now $\det R=+1$, and the loss is the same. Excluding reflections would exclude nothing.

# %%
rng = np.random.default_rng(0)
R, _ = itq_rotation(V[:8], 50, rng)
signed_permutation = np.eye(8)[rng.permutation(8)] * rng.choice([-1, 1], 8)
B, B_changed = sgn(R @ V[:8]), sgn(signed_permutation @ R @ V[:8])
loss = np.sum((B - R @ V[:8]) ** 2)
loss_changed = np.sum((B_changed - signed_permutation @ R @ V[:8]) ** 2)
assert np.isclose(loss, loss_changed) and np.any(B != B_changed)
distances, changed = (hamming_distances(b.T[:500], b.T) for b in (B, B_changed))
assert np.array_equal(distances, changed)
print("other codes, the same loss, the same distances")

# %% [markdown]
# ## 3.2 Fisher's discriminant analysis
#
# Let $M=(\mu_1-\bar x,\dots,\mu_C-\bar x)$ and $\Lambda=\operatorname{diag}(p)$. The overall mean is the mean of the class means, $Mp=\sum_cp_c\mu_c-\bar x=0$. Therefore $M\,C_{yy}=M(\Lambda-pp^\top)=M\Lambda=C_{xy}$, and by the defining property $C_{yy}C_{yy}^+C_{yy}=C_{yy}$ of the pseudoinverse
#
# $$ C_{xy}C_{yy}^{+}C_{yx}=M\,C_{yy}C_{yy}^{+}C_{yy}\,M^\top=M\,C_{yy}M^\top=M\Lambda M^\top=\sum_{c}p_c(\mu_c-\bar x)(\mu_c-\bar x)^\top $$
#
# Call this $S_B$, the covariance between the classes, and $S_W=C_{xx}-S_B$ that within them. Then Eq. (8), $S_Bw=r^2C_{xx}w$, is the same as $S_Bw=\frac{r^2}{1-r^2}S_Ww$: Fisher's criterion. The squared correlation is the share of the variance of $w^\top x$ that lies between the classes.

# %%
Y = (y == np.arange(10)[:, None]) * 1.0
p = Y.mean(axis=1, keepdims=True)
C_xy, C_yy = (X - mean) @ (Y - p).T / len(y), (Y - p) @ (Y - p).T / len(y)
M = np.array([X[:, y == c].mean(axis=1) for c in range(10)]).T - mean
left, between = C_xy @ np.linalg.pinv(C_yy, rcond=1e-12) @ C_xy.T, (M * p[:, 0]) @ M.T
assert np.allclose(left, between)
print("C_xy C_yy^+ C_yx equals the covariance between the classes")

# %% [markdown]
# ## 3.3 How many alternations?


# %%
def measured(V, V_query, n_iter, seed, relevant=data.relevant):
    """Loss per sample, and the measures in percent, of ITQ on the projected samples."""
    R, losses = itq_rotation(V, n_iter, np.random.default_rng(seed))
    values = evaluate(sgn(R @ V_query).T, sgn(R @ V).T, relevant)
    return {"loss": losses[-1]} | {name: 100 * value for name, value in values.items()}


def mean_of_seeds(*arguments):
    rows = [measured(*arguments, seed) for seed in range(3)]
    return {name: np.mean([row[name] for row in rows]) for name in rows[0]}


# %%
counts = (0, 1, 2, 5, 10, 50, 200)
rows = [mean_of_seeds(V, V_query, n_iter) for n_iter in counts]
for n_iter, row in zip(counts, rows):
    print(
        f"{n_iter:3d} alternations: loss {row['loss']:5.2f}, P@r=2 {row['precision_at_2']:5.2f} %, "
        f"mAP {row['map_standard']:5.2f} %"
    )

# %%
fig, ax = plt.subplots(figsize=(6, 3))
losses = [row["loss"] for row in rows]
labels = {"precision_at_2": "P@r=2", "map_standard": "mAP"}
for marker, (name, label) in zip(MARKERS, labels.items()):
    _ = ax.plot(losses, [row[name] for row in rows], marker=marker, label=label)
_ = ax.invert_xaxis()
_ = ax.set(xlabel="loss per sample (alternations run to the right)", ylabel="%")
_ = ax.legend()

# %% [markdown]
# The points lie on two nearly straight lines: as long as only the rotation changes, a smaller loss means better retrieval. Most of the way is behind us after 50 alternations; 150 more bring less than one point. And compare the first row with the signs of PCA in the notebook (15.96 % and 40.0 % at 32 bits): spreading the variance by *any* rotation already brings about half of the gain in mAP, learning the rotation the other half.
#
# ## 3.4 Whitening
#
# The distance between two whitened columns divides each principal direction by its standard deviation (it is the Mahalanobis distance within the $L$ directions). A direction with little variance, which hardly matters for the Euclidean distance, then weighs as much as the first. The codes keep the wrong geometry.

# %%
for L in (8, 16, 24, 32):
    deviation = V[:L].std(axis=1, keepdims=True)
    plain = mean_of_seeds(V[:L], V_query[:L], 50)
    white = mean_of_seeds(V[:L] / deviation, V_query[:L] / deviation, 50)
    for name, row in (("as they are", plain), ("whitened", white)):
        retrieval = f"mAP {row['map_standard']:5.2f}, P@r=2 {row['precision_at_2']:5.2f}"
        bits = f"balance {row['balance']:.2f}, independence {row['independence']:5.2f}"
        print(f"{L:2d} bits, {name:11s}: {retrieval}, {bits}")

# %% [markdown]
# Whitening does what it promises for the bits: at every length they are better balanced and far more independent. Retrieval is another matter. At 8 bits the variances of the directions differ little and nothing changes; at 16 bits the two measures disagree; at 24 and 32 bits the faint directions take part with full weight, and whitening loses 4 to 7 points of mAP. Independent bits are worth having, but not at the price of the distances.
#
# ## 3.5 The other ground truth

# %%
truths = {"neighbours": data.relevant, "labels": (data.labels.query, data.labels.database)}
for est in (ITQ(16, dtype="float64"), ITQCCA(16, dtype="float64")):
    est.fit(X.T, y)
    for truth, relevant in truths.items():
        row = evaluate(est.transform(X_query.T), est.codes_, relevant)
        p2, expected = 100 * row["precision_at_2"], 100 * row["map_standard"]
        print(f"{type(est).__name__:6s} by {truth:10s}: P@r=2 {p2:5.2f} %, mAP {expected:5.2f} %")

# %% [markdown]
# ITQ, which never saw a label, does well by labels: near images mostly show the same digit. The reverse is not true. ITQ-CCA maps all images of a digit to nearly one code, so it cannot tell which of the 400 images of a class are the 50 nearest; by Euclidean neighbours it is no better than random hyperplanes. A code is good *for* something; a table that mixes ground truths says nothing.
