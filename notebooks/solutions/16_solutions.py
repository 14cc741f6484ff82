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

from bdnn import ITQ
from bdnn.data import load
from bdnn.network import flatten, hidden_sizes, initial_weights
from bdnn.engine.scale import evaluation_cost
from bdnn.sources import Blocks
from bdnn.uh_bdnn import EncoderObjective

# %% [markdown]
# ## 16.1 What the similarity needs
#
# With $S=2Y^\top Y-\mathbf 1\mathbf 1^\top$ the square opens into $\tfrac1{L^2}\|HH^\top\|^2-\tfrac2L\big(2\|HY^\top\|^2-\|H\mathbf 1\|^2\big)+m^2$, since $\operatorname{tr}(H^\top H\,Y^\top Y)=\|HY^\top\|^2$. Every sample has one class, so $H\mathbf 1=(HY^\top)\mathbf 1$. The gradient with respect to $h_i$ of class $c$ is $\tfrac2{mL}\big[\tfrac1L(HH^\top)h_i-2(HY^\top)_c+H\mathbf 1\big]$: the same two matrices. For 32 bits and 10 classes these are $32^2+32\cdot10$ numbers.

# %%
print(32**2 + 32 * 10, "numbers")

# %% [markdown]
# ## 16.2 One reduction
#
# $M=\tfrac{\lambda_2}mI+\tfrac{2\lambda_3}m(\tfrac1mG-I)$ and $v=\tfrac{\lambda_4}ms$ are known beforehand if $\lambda_3=\lambda_4=0$: only equality is left, a plain sum over samples. $\lambda_2$ does no harm. (With $\lambda_3=0$ alone, $v$ is linear in $s$, and $L$ gradients beyond the first would do.)

# %%
X = load("digits").train.T / 16
L, lambdas = 8, (0.0, 5e-2, 0.0, 0.0)
m, sizes = X.shape[1], (len(X), *hidden_sizes(L), L)
theta = flatten(*initial_weights(X, sizes, np.random.default_rng(0)))
B = np.where(X[20 : 20 + L] > 0.5, 1.0, -1.0)
halves = [slice(0, m // 2), slice(m // 2, m)]

# %%
J, gradient = 0.0, 0.0
for columns in halves:  # each half divides by its own number of samples; weigh them by it
    share = (columns.stop - columns.start) / m
    value, slope = EncoderObjective(X[:, columns], B[:, columns], sizes, lambdas)(theta)
    J, gradient = J + share * value, gradient + share * slope
J_whole, gradient_whole = EncoderObjective(X, B, sizes, lambdas)(theta)
assert np.isclose(J, J_whole) and np.allclose(gradient, gradient_whole)
print(f"one reduction: {J:.6f}, all at once: {J_whole:.6f}")

# %% [markdown]
# ## 16.3 Two copies too many
#
# An evaluation sees none of the three: it sees the principal components $A=P^\top X$. The scaled samples without those held out are needed between the encoder steps, by decoder and DCC, once in a round; the other two copies only before the training begins. So one of three copies suffices.

# %%
cost = evaluation_cost(10**9, 128, (128, *hidden_sizes(32), 32), 64, 5e10, 1.25e9)
without = cost.memory - 2 * 4 * 128 * 10**9 / 64
print(f"{cost.memory / 1e9:.1f} GB on each of 64 workers, {without / 1e9:.1f} GB with one copy")

# %% [markdown]
# ## 16.4 Samples that are made up


# %%
def make(n_samples=20_000, rows=500):
    rng = np.random.default_rng(16)
    for _ in range(n_samples // rows):
        yield rng.standard_normal((rows, 12)) * np.arange(12, 0, -1)


made_up = Blocks(make, 20_000, 12)
from_blocks = ITQ(8, n_iter=10).fit(made_up)
from_array = ITQ(8, n_iter=10).fit(np.vstack(list(make())))
print("same codes:", np.array_equal(from_blocks.codes_, from_array.codes_))
