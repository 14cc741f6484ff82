# %% [markdown]
# # Solutions to notebook 16: scale

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
from dask import array as da

from bdnn.data import load
from bdnn.engine.scale import total
from bdnn.network import flatten, hidden_sizes, initial_weights
from bdnn.uh_bdnn import encoder_objective

# %% [markdown]
# ## 16.1 What the similarity needs
#
# With $S=2Y^\top Y-\mathbf 1\mathbf 1^\top$ the square opens into $\tfrac1{L^2}\|HH^\top\|^2-\tfrac2L\big(2\|HY^\top\|^2-\|H\mathbf 1\|^2\big)+m^2$, since $\operatorname{tr}(H^\top H\,Y^\top Y)=\|HY^\top\|^2$. Every sample has one class, so $H\mathbf 1=(HY^\top)\mathbf 1$. The gradient with respect to $h_i$ of class $c$ is $\tfrac2{mL}\big[\tfrac1L(HH^\top)h_i-2(HY^\top)_c+H\mathbf 1\big]$: the same two matrices. For 32 bits and 10 classes these are $32^2+32\cdot10$ numbers.

# %%
print(32**2 + 32 * 10, "numbers")

# %% [markdown]
# ## 16.2 One reduction
#
# $M=\tfrac{\lambda_2}mI+\tfrac{2\lambda_3}m(\tfrac1mG-I)$ and $v=\tfrac{\lambda_4}ms$ are known beforehand if $\lambda_3=\lambda_4=0$: only equality is left, a plain sum over samples. $\lambda_2$ does no harm. (With $\lambda_3=0$ alone, $v$ is linear in $s$, and $L$ gradients beyond the first would do.) The slope of Deep Hashing, $h_i-\operatorname{sgn}h_i-\tfrac{\alpha_1}mh_i$, is known beforehand as well: one reduction suffices.

# %%
X = load("digits").train.T.astype(np.float64) / 16
L, lambdas = 8, (0.0, 5e-2, 0.0, 0.0)
m, sizes = X.shape[1], (len(X), *hidden_sizes(L), L)
theta = flatten(*initial_weights(X, sizes, np.random.default_rng(0)))
B = np.where(X[20 : 20 + L] > 0.5, 1.0, -1.0)

# %%
J, gradient = 0.0, 0.0
for columns in (slice(0, m // 2), slice(m // 2, m)):
    share = (columns.stop - columns.start) / m  # each half divides by its own number of samples
    value, slope = encoder_objective(theta, X[:, columns], B[:, columns], sizes, lambdas)
    J, gradient = J + share * value, gradient + share * slope
J_whole, gradient_whole = encoder_objective(theta, X, B, sizes, lambdas)
assert np.isclose(J, J_whole, rtol=1e-12) and np.allclose(gradient, gradient_whole)
print(f"one reduction: {J:.6f}, all at once: {J_whole:.6f}")

# %% [markdown]
# ## 16.3 Mean and covariance in one pass
#
# $C=\tfrac1m\sum xx^\top-\bar x\bar x^\top$ is exact on paper. Far from the origin it is the small difference of two large numbers, and rounding eats it; with the mean taken off first it is not.


# %%
def sums(given, X):
    """The sum of the samples, and of their squares."""
    return X.sum(axis=1), X @ X.T


for distance in (0, 1e4, 1e8):
    rows = np.random.default_rng(0).standard_normal((1000, 3)) + distance
    s, S = total(sums, (), da.from_array(rows, chunks=(300, 3)))
    C = S / 1000 - np.outer(s, s) / 1000**2
    error = np.abs(C - np.cov(rows.T, bias=True)).max()
    assert error < (1e-10 if distance == 0 else 1e-4 if distance == 1e4 else np.inf)
    print(
        f"{distance:.0e} from the origin: {'digits are left' if error < 1e-3 else 'none is left'}"
    )
