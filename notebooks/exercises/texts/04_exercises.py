# %% [markdown]
# # Write the network of notebook 04
#
# Two functions, about an hour and a quarter; `backward` takes most of it. Notebook 04 says when to do each: 4.A at the beginning of "Run forward", 4.B after Eq. (11).

# %%
import numpy as np

from bdnn.course.exercises import check
from bdnn.network import sigmoid

# %% [markdown]
# ## 4.A Run forward (20 minutes)
#
# Layer $l+1$ takes the output of layer $l$, by Eq. (1) of notebook 04,
#
# $$ H^{(l+1)}=f\big(W^{(l)}H^{(l)}+c^{(l)}\mathbf 1_{1\times m}\big),\qquad H^{(1)}=X, $$
#
# where $f$ is the sigmoid in the hidden layers and the identity in the last one, the code layer. In Python, `Ws[0]` is $W^{(1)}$, which is $h_1\times D$, and `cs[0]` is $c^{(1)}$, a column $h_1\times1$. `sigmoid` is imported.


# %% tags=["solution"]
def forward(Ws, cs, X):
    """Outputs of all layers: sigmoid in the hidden ones, linear in the last.

    Ws and cs are lists of arrays (h_out, h_in) and (h_out, 1); X is (D, m).
    Returns a list [X, H2, H3, ...] of arrays (units, m).
    """
    Hs = [X]
    for l, (W, c) in enumerate(zip(Ws, cs)):
        Z = W @ Hs[-1] + c
        Hs.append(sigmoid(Z) if l < len(Ws) - 1 else Z)
    return Hs


# %%
check(forward)

# %% [markdown]
# ## 4.B Backpropagation (55 minutes)
#
# Given is $\partial J/\partial H$ of the last layer. Because that layer is linear, its $\Delta$ is this gradient itself, Eq. (9) of notebook 04. In every layer, Eq. (10) of notebook 04 gives the gradients of weights and biases, and Eq. (11) of notebook 04 the $\Delta$ of the layer below:
#
# $$ \frac{\partial J}{\partial W^{(l)}}=\Delta^{(l+1)}H^{(l)\top},\qquad \frac{\partial J}{\partial c^{(l)}}=\Delta^{(l+1)}\mathbf 1_{m\times1},\qquad \Delta^{(l)}=\big(W^{(l)\top}\Delta^{(l+1)}\big)\odot f'\big(Z^{(l)}\big), $$
#
# with $f'=H\odot(1-H)$ for a sigmoid whose output is $H$, Eq. (4) of notebook 04. Write the shapes of all factors on paper first. `Hs` is what `forward` returns: `Hs[0]` is $X$, `Hs[1]` the output of `Ws[0]`.


# %% tags=["solution"]
def backward(Ws, Hs, dH):
    """Gradients with respect to all weights and biases.

    Ws are arrays (h_out, h_in), Hs the outputs of all layers, X first; dH is (L, m), the gradient
    with respect to Hs[-1].
    Returns two lists, dWs and dcs, in the shapes of the weights and of the biases.
    """
    dWs, dcs = [], []
    Delta = dH  # the code layer is linear, Eq. (9)
    for l in range(len(Ws) - 1, -1, -1):
        dWs.insert(0, Delta @ Hs[l].T)  # Eq. (10)
        dcs.insert(0, np.sum(Delta, axis=1, keepdims=True))
        Delta = Ws[l].T @ Delta * Hs[l] * (1 - Hs[l])  # Eq. (11)
    return dWs, dcs


# %%
check(backward)
