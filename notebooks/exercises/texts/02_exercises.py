# %% [markdown]
# # Write the measures of notebook 02
#
# Two functions, about 35 minutes. Notebook 02 says when to do each: 2.A after Eq. (3), 2.B after Eq. (4).

# %%
import numpy as np

from bdnn.course.exercises import check

# %% [markdown]
# ## 2.A Average precision (15 minutes)
#
# A ranking holds $n$ items, of which $R\ge1$ are relevant, at the ranks $r_1<\dots<r_R$, counted from 1. By Eq. (3) of notebook 02
#
# $$ \mathrm{AP}=\frac1R\sum_{j=1}^{R}\frac{j}{r_j} . $$
#
# `ranked` is $(n,)$, booleans; the result is one number. Try it on the six items of the notebook by hand first: `[True, False, True, False, False, True]` gives $13/18$.


# %% tags=["solution"]
def average_precision(ranked):
    """Average precision of one ranking.

    ranked is (n,): ranked[i] tells whether the item at rank i + 1 is relevant.
    Returns a number.
    """
    r = np.flatnonzero(ranked) + 1  # ranks of the relevant items
    j = np.arange(1, len(r) + 1)
    return np.mean(j / r)


# %%
check(average_precision)

# %% [markdown]
# ## 2.B Precision within a Hamming ball (20 minutes)
#
# $D$ is $(n_\text{query},n_\text{items})$, the distances, and $R$, here a matrix of booleans of the same shape, tells which items are relevant to which query. By Eq. (4) of notebook 02
#
# $$ \mathrm P@\rho=\frac1{n_{\text{query}}}\sum_{q}\frac{|\{i:\ R_{qi},\ D_{qi}\le\rho\}|}{|\{i:\ D_{qi}\le\rho\}|} , $$
#
# and a query whose ball is empty counts 0. No loop is needed.


# %% tags=["solution"]
def precision_in_ball(D, R, radius):
    """Mean over the queries of the precision within a radius; an empty ball counts 0.

    D and R are (n_query, n_items): distances, and whether the item is relevant.
    Returns a number.
    """
    ball = D <= radius
    size = np.sum(ball, axis=1)  # (n_query,)
    hits = np.sum(ball & R, axis=1)
    return np.mean(hits / np.maximum(size, 1))


# %%
check(precision_in_ball)
