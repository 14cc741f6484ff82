# %% [markdown]
# # Solutions to notebook 07: DCC

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %%
from itertools import combinations, product

import numpy as np

from bdnn.data import load
from bdnn.dcc import coordinate_descent
from bdnn.itq import ITQ

# %% [markdown]
# All solutions use the small digits, ITQ codes of 10 bits, the least-squares decoder, and ITQ's real
# values as $H$. `values` is (1) of notebook 07, one number per sample.

# %%
rows = load("digits").train / np.float64(16)
itq = ITQ(10, dtype="float64").fit(rows)
X, B, H = rows.T, itq.codes_.T.astype(np.float64), itq.decision_function(rows).T
design = np.vstack([B, np.ones((1, B.shape[1]))])
fitted = np.linalg.lstsq(design.T, X.T, rcond=None)[0].T
W, c, lambda2 = fitted[:, :-1], fitted[:, -1:], 0.05
Q, G = W.T @ (X - c) + lambda2 * H, W.T @ W


def values(B):
    return ((X - W @ B - c) ** 2).sum(axis=0) + lambda2 * ((H - B) ** 2).sum(axis=0)


# %% [markdown]
# ## 7.1 What a flip changes
#
# With the other rows fixed, $-2t_{kj}b_{kj}$ is all that contains the bit; after the flip it is
# $+2t_{kj}b_{kj}$. The difference is $4\,b_{kj}t_{kj}$. The update (6) flips exactly the bits with
# $b_{kj}t_{kj}<0$ (and those with $t_{kj}=0$, $b_{kj}=-1$, which changes nothing), so it lowers the objective by
# $4\sum|t_{kj}|$ over the flipped bits. Where DCC stops, $b_{kj}t_{kj}\ge0$ for all $k,j$: no single
# flip helps.

# %%
k = 3
others = np.arange(10) != k
t = Q[k] - G[k, others] @ B[others]
flipped = B.copy()
flipped[k] *= -1
change = values(flipped) - values(B)
print("change of the first five:", *(f"{v:.4f}" for v in change[:5]))
print("4 b t:                   ", *(f"{v:.4f}" for v in (4 * B[k] * t)[:5]))
assert np.allclose(change, 4 * B[k] * t)
updated = B.copy()
updated[k] = np.where(t >= 0, 1, -1)
gain = 4 * np.abs(t[updated[k] != B[k]]).sum()
print(f"an update gains {values(B).sum() - values(updated).sum():.4f}; 4 sum |t| = {gain:.4f}")

# %% [markdown]
# ## 7.2 When one cycle is enough, and when $\lambda_2$ decides
#
# If the columns of $W$ are orthogonal, $G$ is diagonal, (6) becomes $b_k=\operatorname{sgn}(q_k)$, and takes nothing
# from the other rows. The objective is then a sum over bits, each at its own minimum: one cycle is
# the global optimum from every start. (One bit, $L=1$, is the simplest case.)
#
# For the second part, $|w_k^\top(v-W_{\setminus k}b_{\setminus k})|\le|w_k^\top v|+\sum_{l\ne k}|g_{kl}|$ whatever
# the other bits are. If
#
# $$
# \lambda_2>\max_{k,j}\frac{|w_k^\top v_j|+\sum_{l\ne k}|g_{kl}|}{|h_{kj}|},
# $$
#
# then $t_{kj}$ always has the sign of $h_{kj}$. Starting from *any* code, setting the bits to
# $\operatorname{sgn}(H)$ one after the other never raises the objective: $\operatorname{sgn}(H)$ is the global optimum.

# %%
cross = np.abs(G - np.diag(np.diag(G))).sum(axis=1, keepdims=True)
bound = ((np.abs(W.T @ (X - c)) + cross) / np.abs(H)).max()
random = np.random.default_rng(0).choice([-1.0, 1.0], B.shape)
for name, weight in (("above the bound", 1.01 * bound), ("0.05", lambda2)):
    end = coordinate_descent(X, W, c, H, weight, random, cycles=1)
    print(
        f"lambda2 {name:15}: after one cycle {np.mean(end != np.sign(H)):.1%} of the bits are not sgn(H)"
    )

# %% [markdown]
# ## 7.3 No circles
#
# An update that leaves the value of a sample unchanged has $t_{kj}=0$, and then the bit becomes $+1$. So
# every change either lowers a sample's value, or keeps it and turns a $-1$ into a $+1$. The pair
# (value, number of $-1$) of each sample goes strictly down in lexicographic order, and since there are
# finitely many codes, it can do so only finitely often.
#
# A circle: $W=(1,1)$, $x=1$, $\lambda_2=0$, and every tied bit is turned over. The value is $(1-b_1-b_2)^2$, which
# is 1 for all codes but $(-1,-1)$, and $t_1=1-b_2$ is 0 whenever $b_2=+1$.

# %%
b, seen = np.array([1, 1]), []
for _ in range(6):
    for k in range(2):
        t = 1 - b[1 - k]
        b[k] = np.sign(t) if t else -b[k]
    seen.append(tuple(b.tolist()))
print("after each cycle:", *seen)

# %% [markdown]
# ## 7.4 Many starts

# %%
codes = np.array(list(product((-1.0, 1.0), repeat=10))).T
table = (codes * (G @ codes)).sum(axis=0)[:, None] - 2 * codes.T @ Q
best = values(codes[:, table.argmin(axis=0)])
rng = np.random.default_rng(0)
starts = [B] + [rng.choice([-1.0, 1.0], B.shape) for _ in range(10)]
ends = [values(coordinate_descent(X, W, c, H, lambda2, start)) for start in starts]
for count in (1, 2, 11):
    share = (np.min(ends[:count], axis=0) < best * (1 + 1e-9)).mean()
    print(f"{count:2} starts: {share:.1%} of the samples at the global optimum")

# %% [markdown]
# Starts are cheap, and the remaining gap closes quickly with them.
#
# ## 7.5 Two bits at once
#
# Both flips one after the other: the first changes the value by $4b_kt_k$; it changes $t_l$ by
# $+2g_{kl}b_k$, so the second changes it by $4b_l(t_l+2g_{kl}b_k)$. Together $4(b_kt_k+b_lt_l)+8g_{kl}b_kb_l$.


# %%
def best_pair_flip(B):
    """Flip in each sample the two bits that lower its value most, if any do."""
    BT = B * (Q - G @ B + np.diag(G)[:, None] * B)  # b t for every bit
    pairs = np.array(list(combinations(range(len(B)), 2)))
    k, l = pairs.T
    change = 4 * (BT[k] + BT[l]) + 8 * G[k, l][:, None] * B[k] * B[l]
    chosen = change.argmin(axis=0)
    helps = np.flatnonzero(change.min(axis=0) < -1e-12)
    B = B.copy()
    for bit in pairs[chosen[helps]].T:
        B[bit, helps] *= -1
    return B, len(helps)


# %%
end, moved, rounds = coordinate_descent(X, W, c, H, lambda2, B), 1, 0
before = values(end)
while moved:
    end, moved = best_pair_flip(end)
    end = coordinate_descent(X, W, c, H, lambda2, end)
    rounds += moved > 0
for name, f in (("single flips", before), ("also pairs", values(end))):
    share = (f < best * (1 + 1e-9)).mean()
    print(f"{name}: {share:.1%} at the optimum, mean gap {100 * (f / best - 1).mean():.4f} %")
assert (values(end) <= before + 1e-9).all()

# %% [markdown]
# Pairs cost $L(L-1)/2$ values per sample and round instead of $L$; what they find is what single flips had
# left over: two bits that must move together.
