# %% [markdown]
# # Write the two halves of L-BFGS: direction and step
#
# Two functions, about 50 minutes. Notebook 06 says when to do each: 6.A after Eq. (8), 6.B after Eq. (10).

# %%
import numpy as np

from bdnn.course.exercises import check

# %% [markdown]
# ## 6.A The two-loop recursion (30 minutes)
#
# `pairs` is a list of $(s_j,y_j)$, oldest first, all vectors of length $n$, at least one pair. By Eqs. (7) and (8) of notebook 06
#
# $$ \begin{aligned} &q\leftarrow g\\ &\text{for }j=r,\dots,1:\quad\alpha_j=\frac{s_j^\top q}{s_j^\top y_j},\quad q\leftarrow q-\alpha_jy_j\\ &q\leftarrow\gamma q,\qquad\gamma=\frac{s_r^\top y_r}{y_r^\top y_r}\\ &\text{for }j=1,\dots,r:\quad q\leftarrow q+\Big(\alpha_j-\frac{y_j^\top q}{s_j^\top y_j}\Big)s_j \end{aligned} $$
#
# No matrix is needed, only inner products. Leave `g` as it is.


# %% tags=["solution"]
def two_loop(g, pairs):
    """The product K g of the L-BFGS estimate of the inverse Hessian with a vector.

    g is (n,), pairs a list of (s, y), both (n,), oldest first.
    Returns an array (n,).
    """
    q, alphas = np.copy(g), []
    for s, y in reversed(pairs):
        alphas.append(s @ q / (s @ y))
        q -= alphas[-1] * y
    s, y = pairs[-1]
    q *= s @ y / (y @ y)  # gamma, Eq. (7)
    for (s, y), alpha in zip(pairs, reversed(alphas)):
        q += (alpha - y @ q / (s @ y)) * s
    return q


# %%
check(two_loop)

# %% [markdown]
# ## 6.B Backtracking (20 minutes)
#
# `fun(x)` returns the value and the gradient. Along a direction $p$ with $g^\top p<0$, find a step that satisfies Eq. (10) of notebook 06,
#
# $$ J(x+ap)\le J(x)+c_1\,a\,g^\top p : $$
#
# try $a=1$, and halve it until it does.


# %% tags=["solution"]
def backtrack(fun, x, p, c1):
    """The first of the lengths 1, 1/2, 1/4, ... that fulfils the Armijo condition.

    fun: x -> (value, gradient); x and p are (n,), p leads downhill; 0 < c1 < 1.
    Returns a number, the length a.
    """
    f, g = fun(x)
    a = 1.0
    while fun(x + a * p)[0] > f + c1 * a * (g @ p):  # Eq. (10)
        a /= 2
    return a


# %%
check(backtrack)
