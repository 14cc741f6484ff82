# %% [markdown]
# # Solutions to notebook 08: UH-BDNN

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %%
from functools import partial
from itertools import islice

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize

from bdnn.course.plotting import MARKERS
from bdnn.data import load
from bdnn.dcc import coordinate_descent
from bdnn.itq import itq_codes
from bdnn.losses import reconstruction
from bdnn.metrics import sgn
from bdnn.network import flatten, forward, hidden_sizes, initial_weights, unflatten
from bdnn.uh_bdnn import State, encoder_objective, principal_axes, ridge_decoder, terms, uh_bdnn

X = load("digits").train.T.astype(np.float64) / 16
L, lambdas = 8, (1e-5, 5e-2, 1e-2, 1e-6)
sizes = (len(X), *hidden_sizes(L), L)


def start(seed):
    rng = np.random.default_rng(seed)
    return itq_codes(X, L, rng), flatten(*initial_weights(X, sizes, rng))


# %% [markdown]
# ## 8.1 The decoder without centring
#
# Put a row of ones under the codes, $B_1=\begin{pmatrix}B\\\mathbf 1^\top\end{pmatrix}$, and the
# bias into the weights, $W_1=(W\ c)$. Then
# $J_{\text{dec}}=\tfrac1{2m}\|X-W_1B_1\|^2+\tfrac{\lambda_1}2\|W_1K\|^2$ with
# $K=\mathrm{diag}(1,\dots,1,0)$, which leaves the bias out of the penalty. The gradient
# $-\tfrac1m(X-W_1B_1)B_1^\top+\lambda_1W_1K$ vanishes for
#
# $$W_1=\tfrac1mXB_1^\top\Big(\tfrac1mB_1B_1^\top+\lambda_1K\Big)^{-1}.$$
#
# The two must be one solution, since the minimum is unique. Written in blocks the last column of
# $W_1\big(\tfrac1mB_1B_1^\top+\lambda_1K\big)=\tfrac1mXB_1^\top$ reads $W\bar b+c=\bar x$, and the
# others read $W(\tfrac1mBB^\top+\lambda_1I)+c\bar b^\top=\tfrac1mXB^\top$; putting
# $c=\bar x-W\bar b$ into the second gives Eq. (3).

# %%
B, _ = start(0)
m, lambda1 = X.shape[1], 1e-2
B1, K = np.vstack([B, np.ones(m)]), np.diag([1.0] * L + [0.0])
W1 = X @ B1.T / m @ np.linalg.inv(B1 @ B1.T / m + lambda1 * K)
difference = np.abs(W1 - np.hstack(ridge_decoder(X, B, lambda1))).max()
assert difference < 1e-13
print(f"largest entry {np.abs(W1).max():.1f}, largest difference less than 1e-13")

# %% [markdown]
# ## 8.2 The alternation with SciPy


# %%
def alternate(X, B, theta, n_rounds):
    """The states of the rounds."""
    states = []
    for _ in range(n_rounds):
        W, c = ridge_decoder(X, B, lambdas[0])
        J = partial(encoder_objective, X=X, B=B, sizes=sizes, lambdas=lambdas)
        theta = minimize(J, theta, jac=True, method="L-BFGS-B", options={"maxiter": 30}).x
        H = forward(*unflatten(theta, sizes), X)[-1]
        states.append(State(theta, W, c, H, B))
        B = coordinate_descent(X, W, c, H, lambdas[1], B)
    return states


def J(state):
    return sum(terms(X, state, sizes, lambdas).values())


states = alternate(X, *start(0), n_rounds=12)

# %%
fig, ax = plt.subplots(layout="constrained")
history = [terms(X, state, sizes, lambdas) for state in states]
for name, marker in zip(history[0], MARKERS):
    _ = ax.semilogy([row[name] for row in history], marker=marker, label=name.replace("_", " "))
_ = ax.set(xlabel="round", ylabel="weighted term")
_ = ax.legend()

# %% tags=["nbval-ignore-output"]
print("fall of J:  codes   decoder   encoder")
for t in (1, 10):
    old, new = states[t - 1 : t + 1]
    codes = old._replace(B=new.B)
    values = [J(s) for s in (old, codes, codes._replace(W=new.W, c=new.c), new)]
    print(f"round {t:2}    " + "  ".join(f"{-fall:.5f}" for fall in np.diff(values)))

# %%
falls = -np.diff([J(state) for state in states])
assert falls.min() > -1e-9 and falls[0] > 5 * falls[9]
ours = [J(s) for s in islice(uh_bdnn(X, *start(0), sizes, lambdas, max_iter=30), 12)]
assert abs(ours[-1] / J(states[-1]) - 1) < 0.02
print("J never rises, falls most in the first round, and ends within 2 % of ours")

# %% [markdown]
# In the first round all three steps lower $J$, the encoder most. Later the codes hardly change, and it
# is the encoder that still improves. SciPy's routine and ours take other steps, and the codes
# that follow differ in some bits, so the two do not end at the same network.
#
# ## 8.3 What the equality term does

# %% tags=["nbval-ignore-output"]
print("lambda2   sgn(H) = B   reconstruction from B   from sgn(H)")
results = {}
for factor in (0.01, 1, 100):
    rows = []
    for seed in range(3):
        weights = (lambdas[0], factor * lambdas[1], *lambdas[2:])
        *_, state = islice(uh_bdnn(X, *start(seed), sizes, weights, max_iter=30), 8)
        signs = sgn(state.H)
        from_B = reconstruction(X, state.B, state.W, state.c)[0]
        from_signs = reconstruction(X, signs, state.W, state.c)[0]
        rows.append((np.mean(signs == state.B), from_B, from_signs))
    agreement, from_B, from_signs = results[factor] = np.transpose(rows)
    print(f"{weights[1]:7}   {agreement.round(3)}  {from_B.round(3)}  {from_signs.round(3)}")

# %%
assert results[100][0].min() > results[0.01][0].max()
assert results[100][1].min() > results[0.01][1].max()
print("large lambda2: more bits agree, and B reconstructs less well, in every seed")

# %% [markdown]
# With a small $\lambda_2$ the codes suit the decoder, and the network misses one bit in six; with a
# large one they give in to the network. After the training only $\operatorname{sgn}(H)$ is used, so
# its reconstruction is what counts. The paper's value does best of the three: the codes cost next to
# nothing, and the network can follow them.
#
# ## 8.4 What the axes leave out
#
# Let $(P\ P_\perp)$ be orthogonal. A norm does not change under it, so
#
# $$\|\tilde X-WB-c\mathbf 1^\top\|^2=\|Z-P^\top WB-P^\top c\mathbf 1^\top\|^2+\|P_\perp^\top\tilde X-P_\perp^\top WB-P_\perp^\top c\mathbf 1^\top\|^2,$$
#
# and $P^\top(W\ c)$ and $P_\perp^\top(W\ c)$ can be chosen apart. The minimum over the first is
# $2m\,J_Z^*$. The minimum over the second lies between 0 and its value for $P_\perp^\top(W\ c)=0$,
# which is $\|P_\perp^\top\tilde X\|^2=2m\,\delta$. Hence $J_Z^*\le J^*\le J_Z^*+\delta$: on the left
# equality holds if the codes reconstruct what is left out without error, on the right if they
# are uncorrelated with it.

# %%
centred = X - X.mean(axis=1, keepdims=True)
P = principal_axes(centred)
Z = P.T @ centred
best = [reconstruction(A, B, *ridge_decoder(A, B, 0))[0] for A in (Z, centred)]
delta = (np.sum(centred**2) - np.sum(Z**2)) / (2 * m)
print(f"J_Z* = {best[0]:.3f}, J* = {best[1]:.3f}, J_Z* + delta = {best[0] + delta:.3f}")
