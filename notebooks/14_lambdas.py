# %% [markdown]
# # See what each λ buys
#
# **What you will do.** You move every weight of the objective, from nothing to too much, and watch what that does to the terms, to the bits and to the search.
#
# **What you will learn**
#
# * which of the weights decide how well a code searches, over which range, and which could be left out;
# * that a term can fall by orders of magnitude and the search get no better;
# * to tell an effect from the difference between seeds.
#
# **What you need.** Notebooks 02, 05, 08 and 10. About 40 minutes to read and play; half a minute to run.

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %% [markdown]
# ## Move the weights
#
# UH-BDNN minimises (notebook 08)
#
# $$ J=\tfrac1{2m}\|X-W^{(n-1)}B-c^{(n-1)}\mathbf 1^\top\|^2+\tfrac{\lambda_1}2\sum_l\|W^{(l)}\|^2+\tfrac{\lambda_2}{2m}\|H-B\|^2+\tfrac{\lambda_3}2\|\tfrac1mHH^\top-I\|^2+\tfrac{\lambda_4}{2m}\|H\mathbf 1\|^2. \tag{1} $$
#
# The page below holds 66 trainings, each at other weights. It needs neither a kernel nor the network. Before you move a slider, guess: what will happen at $\lambda_2=50$? At $\lambda_3=0$? At $\lambda_1=0.01$? Use the mouse, or the Tab key and the arrow keys. Where a combination was not recorded, the other weights go back to the paper's values.

# %% tags=["nbval-ignore-output", "hide-input"]
from IPython.display import HTML

from bdnn.course.explorer import Grid, explorer_page
from bdnn.data import load

dataset, grid = load("digits"), Grid.read()
HTML(explorer_page(grid, dataset))

# %% [markdown]
# GitHub shows no scripts, so this place is empty there; the figures below show the same numbers.
#
# The terms are drawn on a logarithmic scale over the rounds of the training, and beside them precision and mAP over the weight that you moved last. Below stand two properties of the bits: balance would make every bar one half, independence would leave the matrix without colour. Then come two pictures with their codes and their nearest neighbours.
#
# The second method is Deep Hashing (notebook 10), with
#
# $$ J=\tfrac12\|\operatorname{sgn}(H)-H\|^2-\tfrac{\alpha_1}{2m}\operatorname{tr}(HH^\top)+\tfrac{\alpha_2}2\sum_l\|W^{(l)}W^{(l)\top}-I\|^2+\tfrac{\alpha_3}2\sum_l\big(\|W^{(l)}\|^2+\|c^{(l)}\|^2\big). \tag{2} $$
#
# With a kernel, the same trainings stand behind widgets, retrieval on the left and terms on the right:

# %% tags=["nbval-ignore-output"]
from bdnn.course.explorer import Sliders

Sliders(grid, "DeepHashing")

# %% [markdown]
# ## The trainings behind the sliders
#
# The papers give one value to each weight and do not say how much depends on it. Here each weight of a method takes seven values: 0, which takes the term away, and six from far below the paper's value to far above it. One weight is moved at a time; $\lambda_2$ and $\lambda_3$ are moved together as well. The data are the 1,500 digits of 8 × 8 pixels, nothing is held out, and the state with the lowest objective is kept.

# %%
import matplotlib.pyplot as plt
import numpy as np

from bdnn.course.explorer import MEASURES, PLANE, TITLES, TRAINING, VALUES
from bdnn.course.explorer import defaults, describe, grid_points, label, observe, sweep
from bdnn.course.plotting import draw_plane, draw_sweep, save_figure

# %%
for method, values in VALUES.items():
    points = grid_points(method)
    print(f"{TITLES[method]}: {len(points)} points, {len(grid.seeds)} seeds, {TRAINING[method]}")
    for name in values:
        texts = ", ".join(f"{value:g}" for value in values[name])
        print(f"  {label(name):5} {texts}; the paper's is {defaults(method)[name]:g}")

# %% [markdown]
# `python3 course.py grid` makes these trainings and writes `notebooks/results/lambdas.json`. Is the record what the library computes today? `observe` trains once at given values. Rounding differs between machines and training amplifies it, but a measure has to come out within the spread of a few seeds.

# %%
start = defaults("UHBDNN")
row, recorded = observe("UHBDNN", start, 0, dataset), grid.find("UHBDNN", start)
print(describe(recorded))
differences = [abs(row[name] - recorded[name]) for name in MEASURES]
assert max(differences) < 0.03
print("\ntrained anew, no measure differs by more than 0.03")

# %% [markdown]
# ## What a difference is worth
#
# Two trainings with two seeds differ, too. So a difference of two means is compared with its standard error: with deviations $s_a,s_b$ over five seeds each, twice the error is $2\sqrt{(s_a^2+s_b^2)/5}$. We call a value **without effect** if neither precision nor mAP differs from the paper's point by more than that. (With five seeds each, chance alone exceeds it in about one comparison in twelve.)


# %%
def compared(method, moved, measure):
    """Difference to the paper's point in points of percent, and twice its standard error."""
    a, b = (
        100 * np.array(grid.each(method, point, measure))
        for point in (defaults(method) | moved, defaults(method))
    )
    return a.mean() - b.mean(), 2 * np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / len(a))


# %%
def effects(method, name):
    """For each value of a weight: the differences of precision and mAP, those beyond the error marked."""
    for value in VALUES[method][name]:
        text = ""
        for measure in ("precision_at_2", "map_standard"):
            difference, error = compared(method, {name: value}, measure)
            mark = "*" if abs(difference) > error else " "
            text += f"   {difference:+6.1f} ± {error:3.1f} {mark}"
        here = "  the paper's" if value == defaults(method)[name] else ""
        print(f"{label(name):5} {value:<8g}{text}{here}")


# %%
print("UH-BDNN                  P@2              mAP, points")
for name in VALUES["UHBDNN"]:
    effects("UHBDNN", name)

# %%
print("Deep Hashing             P@2              mAP, points")
for name in VALUES["DeepHashing"]:
    effects("DeepHashing", name)

# %% [markdown]
# The same as a figure. A mark is the mean of five seeds, its bar reaches from the worst to the best of them, and the shaded value is the paper's.

# %%
fig, axes = plt.subplots(2, 4, figsize=(13, 6), sharey=True)
panels = [("UHBDNN", name) for name in VALUES["UHBDNN"]]
panels += [("DeepHashing", name) for name in VALUES["DeepHashing"] if name != "n_bits"]
for ax, (method, name) in zip(axes.flat, panels):
    draw_sweep(ax, sweep(grid, method, defaults(method), name))
    _ = ax.set(title=f"{TITLES[method]}: {label(name)}", xlabel="")
    ax.tick_params(axis="x", labelsize=8)
    ax.get_legend().remove()
handles, names = axes[0, 0].get_legend_handles_labels()
_ = fig.legend(handles, names, loc="outside upper center", ncols=2)
save_figure(fig, "14_sweeps")

# %% [markdown]
# * **$\lambda_1$ has no effect up to ten times the paper's value, then there is a cliff.** At $10^{-3}$ the network can no longer follow the codes, and at $10^{-2}$ the weights are gone: every picture has the same code.
# * **$\lambda_2$ decides most.** Of the seven values the paper's is the best in both measures. A tenth of it costs 5 points of precision and 7 of mAP, ten times as much costs 15 and 3.
# * **$\lambda_3$ buys precision, not mAP.** Without it precision is 4 points lower, and mAP half a point higher, which is within the error. Ten times the paper's value costs 7 points of mAP.
# * **$\lambda_4$ has no effect up to the paper's value**, and could be left out. A hundred times as much costs 3 points of precision, a thousand times 11.
# * **The number of bits:** from 8 to 32 bits mAP rises by 28 points, further than any weight moves it within a factor of ten of the paper's values. Precision falls at 32 bits because four balls in ten are empty there and count 0.
# * **Deep Hashing's weights** move both measures by half a point at most, from 0 to the printed value of $\alpha_1$ and from 0 to ten thousand times those of $\alpha_2$ and $\alpha_3$. Without its variance term the codes are as good. Very large weights do harm here, too; some of them raise mAP by 2 points while precision falls.
#
# These are statements about 1,500 pictures of 8 × 8 pixels and short trainings. What they say, we assert:


# %%
def effect(moved, measure="precision_at_2", method="UHBDNN"):
    return compared(method, moved, measure)[0]


# %%
P, mAP = "precision_at_2", "map_standard"
for name, harmless in (("lambda1", (0.0, 1e-7, 1e-6, 1e-4)), ("lambda4", (0.0, 1e-8))):
    for value in harmless:
        for measure in (P, mAP):
            difference, error = compared("UHBDNN", {name: value}, measure)
            assert abs(difference) < error, (name, value, measure)
assert effect({"lambda1": 1e-3}) < -20 and effect({"lambda1": 1e-2}) < -60
assert all(
    effect({"lambda2": v}, k) < 0
    for v in VALUES["UHBDNN"]["lambda2"]
    if v != 0.05
    for k in (P, mAP)
)
assert effect({"lambda3": 0.0}) < -3 and abs(effect({"lambda3": 0.0}, mAP)) < 1
assert effect({"lambda3": 0.1}, mAP) < -5
assert -5 < effect({"lambda4": 1e-4}) < -1 and effect({"lambda4": 1e-3}) < -8
assert abs(effect({"alpha1": 0}, P, "DeepHashing")) < 1
print("all of it holds in the recorded grid")

# %% [markdown]
# ## Why $\lambda_4$ buys nothing
#
# Divide the two terms that only look at $H$ by their weights, so that the size of the term itself is seen, and put the bits beside it:

# %%
print("               term/weight  imbalance  dependence   P@2 %   mAP %")
for name, term in (("lambda3", "independence"), ("lambda4", "balance")):
    for value in VALUES["UHBDNN"][name][1:]:
        point = start | {name: value}
        size = grid.find("UHBDNN", point)["curves"][term][-1] / value
        precision, mean_ap, _, imbalance, dependence = (
            grid.spread("UHBDNN", point, measure)[0] for measure in MEASURES
        )
        print(
            f"{label(name)} = {value:<8g}  {size:10.2g} {imbalance:10.3f} {dependence:11.3f}",
            end=" ",
        )
        print(f"{100 * precision:7.1f} {100 * mean_ap:7.1f}")

# %% [markdown]
# From the smallest $\lambda_3$ to the largest the independence term falls by four orders of magnitude and the dependence of the *bits* by half: from $H$ to $\operatorname{sgn}(H)$ most of it is lost. The balance term falls by four orders, too, and the imbalance of the bits by a third.
#
# There was little to gain. With $\bar h=\tfrac1mH\mathbf 1$ and the covariance $C$ of the outputs
#
# $$ \tfrac1mHH^\top=C+\bar h\bar h^\top, \tag{3} $$
#
# so the independence term sees the mean, too, and pays for it; and $H$ follows codes $B$ that come from ITQ, which are nearly balanced from the start. With 1,500 samples the paper's $\lambda_4$ is also too small to act (Exercise 14.2). Where it acts, from $10^{-4}$ on, the bits become better balanced and more dependent, and the search gets worse.
#
# ## $\lambda_2$ and $\lambda_3$ together
#
# One term pulls $H$ towards the codes, the other pulls its rows apart. So we look at the plane, mean of five seeds:


# %%
def mean(measure, **moved):
    return 100 * grid.spread("UHBDNN", start | moved, measure)[0]


# %%
fig, axes = plt.subplots(1, 2, figsize=(10, 3.8))
for ax, measure, title in zip(axes, (P, mAP), ("precision at radius 2 (%)", "mAP (%)")):
    plane = [[mean(measure, lambda2=a, lambda3=b) for b in PLANE[1]] for a in PLANE[0]]
    draw_plane(ax, np.array(plane), PLANE[1], PLANE[0])
    _ = ax.set(xlabel="λ3", ylabel="λ2", title=title)
save_figure(fig, "14_plane")

# %%
print("λ2 / λ3 = 5, as in the paper")
for a, b in ((0.005, 0.001), (0.05, 0.01), (0.5, 0.1), (5.0, 1.0)):
    precision, mean_ap = (mean(measure, lambda2=a, lambda3=b) for measure in (P, mAP))
    print(f"λ2 = {a:<6g} λ3 = {b:<6g}  P@2 {precision:.1f} %, mAP {mean_ap:.1f} %")

# %% [markdown]
# * **Without the equality term** (bottom row) mAP is about 41 %, whatever $\lambda_3$ is: twenty points are missing. In the lower left corner nothing but weight decay acts on the encoder, which stays near its start, the principal components: 70 % precision at a mAP of 41 %. One measure alone would call that good.
# * **Without the independence term** (left column) mAP is as high as anywhere, and precision 4 points below the paper's point.
# * **The ratio does not decide alone.** For given codes the encoder sees only ratios (Exercise 14.1). But $\lambda_2$ also weighs the encoder against the reconstruction when the codes are updated: at one ratio precision falls from 72 to 55 % as both weights grow.
# * The paper's point and its neighbour at a tenth of both weights are level. None of the 25 points is better than the paper's in both measures.

# %%
both = [
    (a, b)
    for a in PLANE[0]
    for b in PLANE[1]
    if mean(P, lambda2=a, lambda3=b) > mean(P) and mean(mAP, lambda2=a, lambda3=b) > mean(mAP)
]
at_zero = [mean(mAP, lambda2=0.0, lambda3=b) for b in PLANE[1]]
print(f"points better than the paper's in both measures: {len(both)}")
print(f"mAP without the equality term: {min(at_zero):.1f} to {max(at_zero):.1f} %")

# %% [markdown]
# ## Trainings of your own
#
# The grid answers what we thought of asking. For everything else there is `observe`, which takes a second:

# %% tags=["nbval-ignore-output"]
print(describe(observe("UHBDNN", start | {"lambda3": 0.0, "lambda4": 1e-4}, 0, dataset)))

# %% [markdown]
# ## What we have now
#
# `bdnn.course.explorer`, written by hand, holds the grid, the page and the widgets; nothing is exported from this notebook.
#
# Which λ matter? $\lambda_2$ most, in both directions; $\lambda_3$ by a few points of precision. $\lambda_1$ and $\lambda_4$ must only be small enough, and so must the weights of Deep Hashing. The number of bits matters more than a factor of ten in any of them.
#
# ## Questions
#
# Answer before you unfold; nothing has to be run.
#
# **Question 1.** A term of the objective falls by orders of magnitude, and the search gets no better. How can that be?
#
# <details><summary>Answer</summary>
#
# The terms look at the outputs $H$; the search uses their signs. From $H$ to $\operatorname{sgn}(H)$ most of the effect is lost. And where the codes already start nearly balanced there is little to gain.
#
# </details>
#
# **Question 2.** Why is the difference of two settings compared with its standard error over seeds?
#
# <details><summary>Answer</summary>
#
# Two trainings that differ in nothing but the seed differ in their results, too. A difference that is no larger than twice the standard error may be chance, and even that bound is exceeded by chance now and then.
#
# </details>
#
# **Question 3.** All four $\lambda$ are multiplied by the same number. Does anything change?
#
# <details><summary>Answer</summary>
#
# For given codes the encoder stays the same: it sees only ratios. But $\lambda_2$ also weighs the encoder against the reconstruction when the codes are updated, and $\lambda_1$ is part of the ridge regression of the decoder. So the codes may change.
#
# </details>
#
# **Question 4.** Why does the page judge every weight by precision and by mAP?
#
# <details><summary>Answer</summary>
#
# They look at different ends of the ranking, and one of them alone can call a setting good that the other does not. Precision within radius 2 also depends on how many balls are empty, which mAP does not.
#
# </details>
#
# ## Exercises
#
# **14.1** (on paper, then in code) Multiply $\lambda_1,\dots,\lambda_4$ by the same $t>0$. Show that for given $B$ the best encoder stays the same. What does change? Check it with `max_alternations=0`.
#
# <details><summary>Hint</summary> Eq. (4) of notebook 08 is linear in the weights. Where else do λ1 and λ2 stand? </details>
#
# **14.2** Derive Eq. (3), and write the balance term as a multiple of $\|\bar h\|^2$. For which $m$ does $\lambda_4=10^{-6}$ weigh as much as $\lambda_2=0.05$?
#
# <details><summary>Hint</summary> $H\mathbf 1=m\bar h$. The equality term is a mean over the samples. </details>
#
# **14.3** $\lambda_3=0$ costs four points of precision, $\lambda_4=0$ nothing. Train with both at 0, three seeds. Does the balance term matter where the independence term is gone?
#
# <details><summary>Hint</summary> `observe` trains and measures. </details>
#
# **14.4** Is there a point in the grid whose worst seed is better than the paper's mean, in both measures at once? In one of them?
#
# <details><summary>Hint</summary> `grid.spread` gives mean, lowest and highest. </details>
#
# **14.5** Train at $\lambda_2=50$, then go on at the paper's values. Compare objective, precision and codes with a training from scratch.
#
# <details><summary>Hint</summary> `make_estimator("UHBDNN", start).fit(X, start=earlier)`. </details>
#
# ## Further reading
#
# * Do, Doan, Cheung, *Learning to Hash with Binary Deep Neural Network*, ECCV 2016: Eq. (1) is the objective of its unsupervised method; the weights are given once, for all data sets.
# * Liong, Lu, Wang, Moulin, Zhou, *Deep Hashing for Compact Binary Codes Learning*, CVPR 2015: the objective of Eq. (2).
