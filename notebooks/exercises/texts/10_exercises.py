# %% [markdown]
# # Write two terms of Deep Hashing
#
# Two functions, about an hour. Notebook 10 says when to do each: 10.A after Eq. (3), 10.B after Eq. (9). Each returns a pair, the value and the gradient with respect to $H$, which is $L\times m$.

# %%
import numpy as np

from bdnn.course.exercises import check
from bdnn.metrics import sgn

# %% [markdown]
# ## 10.A Quantisation (10 minutes)
#
# By Eq. (3) of notebook 10
#
# $$ J_q=\tfrac12\|\operatorname{sgn}(H)-H\|^2 . $$
#
# Derive the gradient where no output is 0. Compare it with that of BDNN's equality: which $1/m$ is not here?


# %% tags=["solution"]
def quantisation(H):
    """Value and gradient of the quantisation term of Deep Hashing.

    H is (L, m), no entry 0.
    Returns a number, and dH, (L, m).
    """
    E = H - sgn(H)
    return np.sum(E**2) / 2, E


# %%
check(quantisation)

# %% [markdown]
# ## 10.B Scatter without pairs (50 minutes)
#
# By Eq. (9) of notebook 10, with the $N_S$ ordered pairs $i\ne j$ of one class and the $N_D$ ordered pairs of different classes,
#
# $$ J_s=\frac1{N_D}\sum_{y_i\ne y_j}\|h_i-h_j\|^2-\frac1{N_S}\sum_{y_i=y_j,\ i\ne j}\|h_i-h_j\|^2 . $$
#
# You may write it over all pairs first; `check` will accept the numbers and then complain about the memory. Then find the form without pairs: Eqs. (11) and (12) of notebook 10, or better your own derivation of them. `y` is $(m,)$: whole numbers 0 to $C-1$, each of which occurs.


# %% tags=["solution"]
def scatter(H, y):
    """Value and gradient of the scatter between less that within classes, without pairs.

    H is (L, m), y is (m,), the classes, 0 to C - 1.
    Returns a number, and dH, (L, m).
    """
    m = H.shape[1]
    Y = (y == np.unique(y)[:, None]) * 1.0  # (C, m)
    n, V, q = Y.sum(axis=1), H @ Y.T, Y @ np.sum(H**2, axis=0)  # (C,), (L, C), (C,)
    s = V.sum(axis=1, keepdims=True)  # (L, 1)
    N_S = np.sum(n**2) - m
    N_D = m**2 - np.sum(n**2)
    T = 2 * m * np.sum(q) - 2 * np.sum(s**2)
    T_S = 2 * np.sum(n * q) - 2 * np.sum(V**2)  # Eq. (11)
    between = 4 * (m * H - s)
    within = 4 * (H * (n @ Y) - V @ Y)
    return (T - T_S) / N_D - T_S / N_S, (between - within) / N_D - within / N_S  # Eq. (12)


# %%
check(scatter)
