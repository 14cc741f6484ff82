# %% [markdown]
# # Solutions to notebook 05: the loss terms
#
# Variants of the loss terms, derived and verified. The exercises are at the end of `05_losses`.

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %%
import numpy as np

from bdnn.data import load
from bdnn.losses import balance, independence, pairwise_similarity, reconstruction
from bdnn.network import gradient_error

rng = np.random.default_rng(5)
H = rng.standard_normal((4, 12))

# %% [markdown]
# ## 5.1 Balance with absolute values
#
# Let $h = H\mathbf 1_{m\times1}$ and $J = \frac1m\|h\|_1 = \frac1m\sum_i|h_i|$. Where no $h_i$ is 0, $\mathrm d|h_i| = \operatorname{sgn}(h_i)\,\mathrm dh_i$, so
#
# $$ \mathrm dJ = \tfrac1m\langle\operatorname{sgn}(h), (\mathrm dH)\mathbf 1_{m\times1}\rangle = \tfrac1m\langle\operatorname{sgn}(h)\mathbf 1_{1\times m}, \mathrm dH\rangle, \qquad \frac{\partial J}{\partial H} = \tfrac1m\operatorname{sgn}(h)\,\mathbf 1_{1\times m} . $$
#
# The first step is the entrywise differential, the second moves the column of ones to the other side. At $h_i = 0$, the very place where the term wants to be, there is no gradient, only the subgradients between $-\frac1m$ and $\frac1m$.


# %%
def absolute_balance(H):
    m = H.shape[1]
    h = H.sum(axis=1, keepdims=True)
    return np.abs(h).sum() / m, np.repeat(np.sign(h) / m, m, axis=1)


assert gradient_error(absolute_balance, H) < 1e-7
for shift in (1, 0.1, 0.001):
    H1 = np.array([[1.0, -1.0, 1.0, -1.0]]) + shift
    print(
        f"mean {shift:5.3f}: squares pull by {balance(H1)[1][0, 0]:.3f}, absolutes by {absolute_balance(H1)[1][0, 0]:.3f}"
    )

# %% [markdown]
# The pull of the squares fades as the bit becomes balanced; the pull of the absolute values does not. In exchange it jumps from one side to the other there, and a method like L-BFGS, which builds on a smooth objective, stumbles.
#
# ## 5.2 Why biases are not regularised
#
# For given $W$ and $B$, the second half of Eq. (3) of notebook 05 is zero when $R\,\mathbf 1_{m\times1} = 0$, that is
#
# $$ (X - WB)\mathbf 1_{m\times1} = m\,c \quad\Longrightarrow\quad c = \tfrac1mX\mathbf 1_{m\times1} - W\,\tfrac1mB\mathbf 1_{m\times1} = \bar x - W\bar b . $$
#
# Put this back: $R = (X - \bar x\mathbf 1_{1\times m}) - W(B - \bar b\mathbf 1_{1\times m})$. The mean of the data has vanished. If $t$ is added to every sample, $\bar x$ and the optimal $c$ grow by $t$, $R$ and the optimal $W$ stay, and so does the minimum. A penalty on $c$ breaks this: a far origin makes $c$ expensive, the optimum is no longer at $R\mathbf 1_{m\times1} = 0$, and what is learned depends on where the data happen to lie. To check it, append a row of ones to $B$; then $c$ is one more column of $W$, with its own penalty:


# %%
def minimum(X, B, lambda1, lambda_bias):
    m = X.shape[1]
    E = np.vstack([B, np.ones(m)])
    penalty = np.diag([lambda1] * len(B) + [lambda_bias])
    A = np.linalg.solve(E @ E.T / m + penalty, E @ X.T / m).T
    value, _ = reconstruction(X, B, A[:, :-1], A[:, -1:])
    return value + np.sum(A**2 @ penalty) / 2, A[:, :-1]


# %%
X, B = rng.standard_normal((6, 50)), rng.choice([-1.0, 1.0], (3, 50))
for name, lambda_bias in [("without", 0.0), ("with", 0.1)]:
    (J, W), (shifted_J, shifted_W) = (minimum(X + t, B, 0.1, lambda_bias) for t in (0, 10))
    change = np.linalg.norm(shifted_W - W) / np.linalg.norm(W)
    print(f"{name:8s} penalty on c: J {J:.4f} -> {shifted_J:8.4f}, W changes by {change:.1%}")

# %% [markdown]
# ## 5.3 Similarity with 0 for different classes
#
# Now $S = Y^\top Y$. With the traces of notebook 05, and $\|Y^\top Y\|^2 = \|YY^\top\|^2 = \sum_cm_c^2$, since $YY^\top$ is diagonal with the class sizes $m_c$:
#
# $$ \Big\|\tfrac1LH^\top H - Y^\top Y\Big\|^2 = \tfrac1{L^2}\|HH^\top\|^2 - \tfrac2L\|HY^\top\|^2 + \sum_cm_c^2, $$
#
# $$ \frac{\partial J}{\partial H} = \tfrac2{mL}H\big(\tfrac1LH^\top H - Y^\top Y\big) = \tfrac2{mL}\Big[\tfrac1L(HH^\top)H - (HY^\top)Y\Big] . $$
#
# *The floor.* $Y^\top Y$ is positive semidefinite with $C$ eigenvalues $\frac mC$ for balanced classes. $\frac1LH^\top H$ has rank at most $L$, so for $L\ge C$ the floor is 0; it is reached by orthogonal class vectors of length $\sqrt L$. For fewer bits $C-L$ eigenvalues are missed:
#
# $$ J\ge\frac1{2m}\max(0, C-L)\Big(\frac mC\Big)^2 = \max(0, C-L)\,\frac m{2C^2} . $$


# %%
def zero_similarity(H, y):
    L, m = H.shape
    Y = (y == np.unique(y)[:, None]).astype(float)
    K, sums = H @ H.T, H @ Y.T
    square = np.sum(K**2) / L**2 - 2 / L * np.sum(sums**2) + np.sum(Y.sum(axis=1) ** 2)
    return square / (2 * m), 2 / (m * L) * (K @ H / L - sums @ Y)


# %%
y = np.repeat([0, 1, 2], 4)
explicit = np.sum((H.T @ H / 4 - (y[:, None] == y)) ** 2) / 24
print(f"explicit {explicit:.6f}, exact {zero_similarity(H, y)[0]:.6f}")
assert gradient_error(lambda H: zero_similarity(H, y), H) < 1e-7

# %%
hadamard = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
codes = hadamard[:, y]
print(
    f"orthogonal codes, 3 classes, 4 bits: with 0 {zero_similarity(codes, y)[0]:.1f}, with -1 {pairwise_similarity(codes, y)[0]:.1f}"
)
two = np.sqrt(2) * np.eye(2, 3)[:, y]  # two dimensions serve two of three classes
print(f"two dimensions: {zero_similarity(two, y)[0]:.4f}, floor {12 / (2 * 9):.4f}")

# %% [markdown]
# Here $\pm1$ codes can reach the floor, if $L$ allows $C$ orthogonal ones. The price: classes are only half a code length apart.
#
# ## 5.4 Independence about the mean
#
# $P = I - \frac1m\mathbf 1\mathbf 1^\top$ satisfies $P^\top = P$ and $PP = P$. With $G = \frac1mHPH^\top - I$, which is symmetric,
#
# $$ \mathrm dJ = \langle G, \mathrm dG\rangle = \tfrac1m\langle G, (\mathrm dH)PH^\top\rangle + \tfrac1m\langle G, HP\,\mathrm dH^\top\rangle = \tfrac2m\langle GHP, \mathrm dH\rangle, \qquad \frac{\partial J}{\partial H} = \tfrac2m\,GHP . $$
#
# The two inner products are equal, because the second is the first with both sides transposed.


# %%
def centred_independence(H):
    m = H.shape[1]
    C = H - H.mean(axis=1, keepdims=True)  # HP
    G = C @ C.T / m - np.eye(len(H))
    return np.sum(G**2) / 2, 2 / m * G @ C


C = H - H.mean(axis=1, keepdims=True)
assert gradient_error(centred_independence, H) < 1e-7
print(
    f"balanced outputs: {independence(C)[0]:.6f} about 0, {centred_independence(C)[0]:.6f} about the mean"
)
constant = np.ones((1, 12))
print(
    f"a constant bit: {independence(constant)[0]:.1f} about 0, {centred_independence(constant)[0]:.1f} about the mean"
)

# %% [markdown]
# $\frac1mHPH^\top = \frac1mHH^\top - \bar h\bar h^\top$, so both agree when $\bar h = 0$, which is what balance asks for. A constant $\pm1$ bit has no variance and costs one half about the mean; about 0 it costs nothing by itself, and only balance objects to it. So the two terms of the paper belong together.
#
# ## 5.5 The floor for classes of any size
#
# $S = Y^\top(2I - \mathbf 1\mathbf 1^\top)Y$, since $\mathbf 1_{1\times m} = \mathbf 1_{1\times C}Y$. A matrix $AB$ has the same eigenvalues other than 0 as $BA$. Take $A = Y^\top$: the eigenvalues are those of $(2I-\mathbf 1\mathbf 1^\top)YY^\top = (2I-\mathbf 1\mathbf 1^\top)N$, and once more with $B = N^{1/2}$ those of the symmetric matrix $N^{1/2}(2I-\mathbf 1\mathbf 1^\top)N^{1/2}$. The floor is half the sum of the squares of the eigenvalues that $\frac1LH^\top H$ cannot have, divided by $m$: all negative ones, and the positive ones beyond the $L$ largest.


# %%
def similarity_floor(counts, L):
    N = np.sqrt(np.asarray(counts, dtype=float))
    mu = np.linalg.eigvalsh(N[:, None] * (2 * np.eye(len(N)) - 1) * N)[::-1]
    missed = mu - np.where(np.arange(len(mu)) < L, np.maximum(mu, 0), 0)
    return np.sum(missed**2) / (2 * np.sum(counts))


# %%
counts = [6, 3, 2, 1]
y = np.repeat(np.arange(4), counts)
mu = np.linalg.eigvalsh(np.where(y[:, None] == y, 1.0, -1.0))
explicit = np.sum(np.minimum(mu, 0) ** 2) / 24
print(
    f"four classes of {counts}: floor {similarity_floor(counts, 8):.6f}, from S itself {explicit:.6f}"
)
print(f"ten classes of 400, 16 bits: {similarity_floor([400] * 10, 16):.1f} = 0.32 m")
print(
    f"two classes of 900 and 100: {similarity_floor([900, 100], 16):.6f}, by the balanced formula 0"
)
labels = load("mnist5k").labels.train
print(
    f"the 4,000 training digits: {similarity_floor(np.unique(labels, return_counts=True)[1], 16):.1f}"
)

# %% [markdown]
# Two classes have no floor, balanced or not: $S = ss^\top$ with $s = \pm1$ by class is positive semidefinite of rank one, and codes $\pm\mathbf 1_{L\times1}$ reach it.
