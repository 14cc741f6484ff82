# %% [markdown]
# # Write the loss terms of notebook 05
#
# Four functions, about an hour and a half; the last one takes half of it. Notebook 05 says when to do each: after it has stated the term, and before it gives the gradient (5.D: before it gives the form without pairs). Derive it on paper first.
#
# Each returns a pair, the value and the gradient with respect to $H$. $H$ is $L\times m$ with samples in columns, and so is its gradient. If a gradient is wrong in a way that no hint explains, `gradient_error` of notebook 04 tells whether it belongs to your value.

# %%
import numpy as np

from bdnn.course.exercises import check

# %% [markdown]
# ## 5.A Equality (10 minutes)
#
# By Eq. (6) of notebook 05
#
# $$ J=\tfrac1{2m}\|H-B\|^2 . $$
#
# $B$ is fixed. Derive the gradient.


# %% tags=["solution"]
def equality(H, B):
    """Value and gradient of the equality term.

    H and B are (L, m).
    Returns a number, and dH, (L, m).
    """
    m = H.shape[1]
    E = H - B
    return np.sum(E**2) / (2 * m), E / m


# %%
check(equality)

# %% [markdown]
# ## 5.B Independence (20 minutes)
#
# By Eq. (8) of notebook 05
#
# $$ J=\tfrac12\|G\|^2,\qquad G=\tfrac1mHH^\top-I . $$
#
# Derive the gradient: product rule, move the factors, and note that $G$ is symmetric.


# %% tags=["solution"]
def independence(H):
    """Value and gradient of the independence term.

    H is (L, m).
    Returns a number, and dH, (L, m).
    """
    L, m = H.shape
    G = H @ H.T / m - np.eye(L)  # (L, L)
    return np.sum(G**2) / 2, 2 / m * G @ H  # Eqs. (8), (9)


# %%
check(independence)

# %% [markdown]
# ## 5.C Balance (15 minutes)
#
# By Eq. (10) of notebook 05
#
# $$ J=\tfrac1{2m}\|h\|^2,\qquad h=H\mathbf 1_{m\times1} . $$
#
# Derive the gradient, an $L\times m$ matrix. The matrix $\mathbf 1\mathbf 1^\top$ of its formula is $m\times m$ and need not be formed.


# %% tags=["solution"]
def balance(H):
    """Value and gradient of the balance term.

    H is (L, m).
    Returns a number, and dH, (L, m).
    """
    m = H.shape[1]
    h = H.sum(axis=1, keepdims=True)  # (L, 1)
    return np.sum(h**2) / (2 * m), h / m + np.zeros(H.shape)  # Eqs. (10), (11)


# %%
check(balance)

# %% [markdown]
# ## 5.D Pairwise similarity without the m x m matrix (45 minutes)
#
# By Eqs. (12) and (13) of notebook 05
#
# $$ J = \tfrac1{2m}\|V\|^2,\quad V = \tfrac1LH^\top H - S,\qquad\frac{\partial J}{\partial H} = \tfrac2{mL}HV, $$
#
# where $S_{ij}$ is $1$ for samples of the same class and $-1$ for others. You may write it like this first, with $S$ and $V$ as $m\times m$ matrices; `check` will accept the numbers and then complain about the memory. Then use $S=2Y^\top Y-\mathbf 1\mathbf 1^\top$ with one-hot labels $Y$, $C\times m$, and set the brackets so that no product is $m\times m$. Eqs. (14) and (15) of notebook 05 are the result.
#
# `y` is $(m,)$: whole numbers 0 to $C-1$, each of which occurs.


# %% tags=["solution"]
def pairwise_similarity(H, y):
    """Value and gradient of the similarity term, in memory that grows with m, not with m^2.

    H is (L, m), y is (m,), the classes, 0 to C - 1.
    Returns a number, and dH, (L, m).
    """
    L, m = H.shape
    Y = (y == np.unique(y)[:, None]) * 1.0  # (C, m)
    K, sums, h = H @ H.T, H @ Y.T, H.sum(axis=1, keepdims=True)  # (L, L), (L, C), (L, 1)
    agreement = 2 * np.sum(sums**2) - np.sum(h**2)  # <H^T H, S>
    J = (np.sum(K**2) / L**2 - 2 / L * agreement + m**2) / (2 * m)  # Eq. (14)
    return J, 2 / (m * L) * (K @ H / L - 2 * sums @ Y + h)  # Eq. (15)


# %%
check(pairwise_similarity)
