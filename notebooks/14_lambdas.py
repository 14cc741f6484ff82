# %% [markdown]
# # See what each λ buys
#
# Which weights of the objective matter, and which way? Guess, then move them: every position of the sliders is a training on MNIST that was recorded. No kernel is needed. Use the mouse, or the Tab key and the arrow keys.

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %% tags=["nbval-ignore-output", "hide-input"]
from IPython.display import HTML

from bdnn.course.explorer import Grid, explorer_page
from bdnn.data import load

dataset, grid = load("mnist5k"), Grid.read()
HTML(explorer_page(grid, dataset))

# %% [markdown]
# GitHub shows no scripts, so this place is empty there; the figures below show the same numbers.
#
# **How to read it.** The objective stands on top, and the term whose weight you move lights up. The curves are precision and mAP over that weight, with the range of five seeds as a band. A number after ± is half of a 95 % interval. The paper's point stays as a ghost: a dashed frame, pale curves, a second reconstruction. Below stand a query, the picture that the decoder makes of its bits, and its neighbours with every differing bit marked. Balance would make every bar one half; independence would leave the matrix without colour. Where a combination was not recorded, the other weights go back to the paper's values.
#
# **What you will do.** You move every weight of three methods, from nothing to too much, and watch what that does to the terms, to the bits and to the search.
#
# **What you will learn**
#
# * which of the weights decide how well a code searches, over which range, and which could be left out;
# * that a term can fall by orders of magnitude and the search get no better;
# * to tell an effect from the difference between seeds.
#
# **What you need.** Notebooks 02, 05, 08, 09 and 10. About 40 minutes to read and play; half a minute to run.
#
# ## Three objectives
#
# UH-BDNN minimises (notebook 08)
#
# $$ J=\tfrac1{2m}\|X-W^{(n-1)}B-c^{(n-1)}\mathbf 1^\top\|^2+\tfrac{\lambda_1}2\sum_l\|W^{(l)}\|^2+\tfrac{\lambda_2}{2m}\|H-B\|^2+\tfrac{\lambda_3}2\|\tfrac1mHH^\top-I\|^2+\tfrac{\lambda_4}{2m}\|H\mathbf 1\|^2. \tag{1} $$
#
# SH-BDNN has the similarity $\tfrac1{2m}\|\tfrac1LH^\top H-S\|^2$ in place of the reconstruction (notebook 09). Deep Hashing (notebook 10) minimises
#
# $$ J=\tfrac12\|\operatorname{sgn}(H)-H\|^2-\tfrac{\alpha_1}{2m}\operatorname{tr}(HH^\top)+\tfrac{\alpha_2}2\sum_l\|W^{(l)}W^{(l)\top}-I\|^2+\tfrac{\alpha_3}2\sum_l\big(\|W^{(l)}\|^2+\|c^{(l)}\|^2\big). \tag{2} $$
#
# ## The trainings behind the sliders
#
# For each weight one value is taken as the reference: mostly that of the authors' program, with $\lambda_4$ from memory (notebook 05), and for Deep Hashing that of a re-implementation (notebook 10). How much depends on it is not known. For short we call them the paper's. Here each weight takes five or six values: 0, which takes the term away, and others from below the paper's value to far above it. One weight is moved at a time; $\lambda_2$ and $\lambda_3$ of UH-BDNN are moved together as well. Every seed draws its own 1,000 of the 4,000 training digits. The trainings are short, nothing is held out, and the state with the lowest objective is kept. The queries of UH-BDNN and Deep Hashing are judged by their 50 nearest neighbours, those of SH-BDNN by their labels, as in the paper.

# %%
import matplotlib.pyplot as plt
import numpy as np
from scipy import stats

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
# Two trainings with two seeds differ, too. But the same seed draws the same digits for every point of the grid, so we compare in pairs: for each seed the difference to the paper's point, and from the five differences $d_s$ with standard deviation $s_d$ their mean $\bar d$ and a 95 % interval,
#
# $$ \bar d\pm t_{4}\,s_d/\sqrt5,\qquad t_4=2.78, $$
#
# with Student's $t$ for four degrees of freedom. We call a value **without effect** if neither interval, that of precision and that of mAP, leaves out 0; it is then at least not larger than the interval says. (One interval in twenty leaves out 0 by chance alone.)


# %%
def compared(method, moved, measure):
    """Mean difference to the paper's point in points of percent, and half of its 95 % interval."""
    a, b = (
        100 * np.array(grid.each(method, point, measure))
        for point in (defaults(method) | moved, defaults(method))
    )
    return np.mean(a - b), stats.t.ppf(0.975, len(a) - 1) * stats.sem(a - b)


# %%
def effects(method):
    """For each value of each weight: the differences, those whose interval leaves out 0 marked."""
    here = [100 * grid.spread(method, defaults(method), measure)[0] for measure in MEASURES[:2]]
    print(f"{TITLES[method]}: P@2 {here[0]:.1f} %, mAP {here[1]:.1f} % at the paper's point")
    for name, values in VALUES[method].items():
        for value in values:
            if value == defaults(method)[name]:
                continue
            text = ""
            for measure in MEASURES[:2]:
                difference, error = compared(method, {name: value}, measure)
                mark = "*" if abs(difference) > error else " "
                text += f"   {difference:+6.1f} ± {error:4.1f} {mark}"
            print(f"{label(name):5} {value:<8g}{text}")


# %%
effects("UHBDNN")

# %%
effects("SHBDNN")

# %%
effects("DeepHashing")

# %% [markdown]
# The same as a figure. A mark is the mean of five seeds, its bar reaches from the worst to the best of them, and the shaded value is the paper's.

# %%
fig, axes = plt.subplots(3, 5, figsize=(15, 9), sharey="row")
for line, method in zip(axes, VALUES):
    for ax, name in zip(line, VALUES[method]):
        draw_sweep(ax, sweep(grid, method, defaults(method), name))
        _ = ax.set(title=f"{TITLES[method]}: {label(name)}", xlabel="")
        ax.tick_params(axis="x", labelsize=8)
        ax.get_legend().remove()
axes[2, 4].remove()
handles, names = axes[0, 0].get_legend_handles_labels()
_ = fig.legend(handles, names, loc="outside upper center", ncols=2)
save_figure(fig, "14_sweeps")

# %% [markdown]
# Retrieval over every weight, mean and range of five seeds. What moves UH-BDNN:
#
# * **$\lambda_1$ has no effect up to ten times the paper's value, then there is a cliff.** At $10^{-3}$ the network can no longer follow the codes, which costs 12 to 13 points of precision and 6 of mAP; at $10^{-2}$ the weights are gone, and every picture has the same code.
# * **$\lambda_2$ matters in both directions.** Without the equality term 5 points of precision and 7 of mAP are missing, with a tenth of the paper's weight 9 and 6. Ten times as much costs 2 points of precision and no mAP, a hundred times 14 and 6.
# * **$\lambda_3$ must not be large, and need not be there.** Without the independence term precision is lower by 0.7 ± 0.9 points and mAP higher by 0.5 ± 0.4. Ten times the paper's value costs 9 points of precision and 6 of mAP.
# * **$\lambda_4$ has no effect up to ten times the paper's value**, and need not be there either. A hundred times as much costs 4 points of precision and 2 of mAP, a thousand times 12 and 6.
# * **The number of bits:** from 8 to 32 bits mAP rises by 27 points, further than any weight moves it within a factor of ten of the paper's values. Precision is highest at 24 bits and falls at 32, because more than half of the balls are empty there and count 0.
#
# SH-BDNN: **each of its four weights may be 0.** For mAP the interval then holds 0 each time, and the mean differs by 0.6 points at most. Only large weights do harm: $\lambda_3=100$ costs 12 points of mAP, $\lambda_2=500$ costs 3. Of precision we can say less. One seed of five ends at 78 % at the paper's point, the others at 83 or 84 %, and at other weights it is another seed, or none; so the intervals reach up to 5 points to either side.
#
# Deep Hashing: **its weights have no effect** from 0 to the paper's value of $\alpha_1$ and from 0 to ten thousand times those of $\alpha_2$ and $\alpha_3$. Without its variance term the codes are as good. More of $\alpha_1$ does harm: ten times as much costs 1 to 2 points of precision, a hundred times 6.
#
# These are statements about 1,000 digits, five seeds and short trainings. What they say, we assert:


# %%
P, mAP = MEASURES[:2]


def effect(moved, measure=P, method="UHBDNN"):
    return compared(method, moved, measure)[0]


# %%
def without_effect(method, name, values, measures):
    """The largest of the differences, of which no interval may leave out 0."""
    pairs = [compared(method, {name: v}, k) for v in values for k in measures]
    assert all(abs(difference) <= error for difference, error in pairs), (method, name, pairs)
    return max(abs(difference) for difference, _ in pairs)


# %%
harmless = (
    ("UHBDNN", "lambda1", (0.0, 1e-6, 1e-4)),
    ("UHBDNN", "lambda4", (0.0, 1e-5)),
    ("SHBDNN", "lambda1", (0.0, 1e-2)),
    ("SHBDNN", "lambda2", (0.0, 0.5)),
    ("SHBDNN", "lambda3", (0.0, 10.0)),
    ("SHBDNN", "lambda4", (0.0, 1e-3)),
    ("DeepHashing", "alpha1", (0, 10)),
    ("DeepHashing", "alpha2", (0.0, 0.1, 10.0)),
    ("DeepHashing", "alpha3", (0.0, 0.1, 10.0)),
)
for method, name, some in harmless:
    measures = MEASURES[1:2] if method == "SHBDNN" else MEASURES[:2]
    largest = without_effect(method, name, some, measures)
    texts = ", ".join(f"{value:g}" for value in some)
    print(f"{TITLES[method]:12} {label(name)} = {texts}: at most {largest:.1f} points")

# %%
cliff = effect({"lambda1": 1e-3}), effect({"lambda1": 1e-3}, mAP)
assert -14 < cliff[0] < -11 and -7 < cliff[1] < -5 and effect({"lambda1": 1e-2}) < -35
for moved, precision, mean_ap in (
    ({"lambda2": 0.0}, -5, -7),
    ({"lambda2": 5e-3}, -9, -6),
    ({"lambda2": 0.5}, -2, 0),
    ({"lambda2": 5.0}, -14, -6),
    ({"lambda3": 0.0}, -1, 0),
    ({"lambda3": 0.1}, -9, -6),
    ({"lambda4": 1e-4}, -4, -2),
    ({"lambda4": 1e-3}, -12, -6),
    ({"n_bits": 8}, -34, -15),
    ({"n_bits": 24}, 17, 7),
    ({"n_bits": 32}, -3, 12),
):
    for measure, points in ((P, precision), (mAP, mean_ap)):
        assert abs(effect(moved, measure) - points) < 0.6, (moved, measure)
assert -4 < effect({"lambda2": 500.0}, mAP, "SHBDNN") < -2
assert -14 < effect({"lambda3": 100.0}, mAP, "SHBDNN") < -11
assert -2 < effect({"alpha1": 1000}, P, "DeepHashing") < -1
assert -7 < effect({"alpha1": 10000}, P, "DeepHashing") < -5
assert effect({"alpha3": 1000.0}, P, "DeepHashing") < -40
print("all of it holds in the recorded grid")

# %% [markdown]
# ## Why $\lambda_4$ buys nothing at 1,000 samples
#
# Divide the two terms that only look at $H$ by their weights, so that the size of the term itself is seen, and put the bits beside it:

# %%
print("               term/weight  imbalance  dependence   P@2 %   mAP %   (the term: first seed)")
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
# From $\lambda_4=10^{-6}$ to $10^{-2}$ the balance term falls by more than three orders of magnitude, and the imbalance of the *bits* by half: from $H$ to $\operatorname{sgn}(H)$ most of it is lost. Meanwhile their dependence more than doubles, and the search gets worse. From $\lambda_3=10^{-3}$ to $10$ the independence term falls by almost four orders, the dependence of the bits by half; their imbalance doubles, and the search gets worse again.
#
# There was little to gain. With $\bar h=\tfrac1mH\mathbf 1$ and the covariance $C$ of the outputs
#
# $$ \tfrac1mHH^\top=C+\bar h\bar h^\top, \tag{3} $$
#
# so the independence term sees the mean, too, and pays for it; and $H$ follows codes $B$ that come from ITQ, which are nearly balanced from the start. With 1,000 samples the paper's $\lambda_4$ is also too small to act (Exercise 14.2).
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
print("mean differences to the paper's point, by ratio   P@2     mAP")
pairs = [(a, b) for a in PLANE[0][1:] for b in PLANE[1][1:]]
for a, b in sorted(pairs, key=lambda pair: (pair[0] / pair[1], pair)):
    moved = {"lambda2": a, "lambda3": b}
    print(f"λ2 / λ3 = {a / b:<5g}  λ2 = {a:<6g} λ3 = {b:<6g}        ", end="")
    print(f"{effect(moved, P):+6.1f}  {effect(moved, mAP):+6.1f}")

# %% [markdown]
# * **Without the equality term** (bottom row) mAP is 7 to 33 points lower. In the lower left corner nothing but weight decay acts on the encoder, and every digit ends with the same code. Beside it, at $\lambda_3=10^{-3}$, all five seeds end with bits far from balance (about 0.6 to 0.8), at 3 % precision.
# * **Without the independence term** (left column, above its lowest row) nothing is lost up to the paper's $\lambda_2$.
# * **Within this plane the ratio decides most.** At 0.5 the two points lose 9 points of precision and 6 of mAP each, at 5 the three points lie within 1.3 points, from 50 on the loss is at most 2.5 points. For given codes the encoder sees only ratios (Exercise 14.1). But $\lambda_2$ also weighs the encoder against the reconstruction when the codes are updated, and $\lambda_2=0.5$ costs 1 to 3 points of precision at each of its ratios.
# * None of the 15 other points is better than the paper's in both measures.

# %%
both = [
    (a, b)
    for a in PLANE[0]
    for b in PLANE[1]
    if mean(P, lambda2=a, lambda3=b) > mean(P) and mean(mAP, lambda2=a, lambda3=b) > mean(mAP)
]
print(f"points better than the paper's in both measures: {len(both)}")
at_zero = [effect({"lambda2": 0.0, "lambda3": b}, mAP) for b in PLANE[1]]
print(f"mAP without the equality term: {min(at_zero):.0f} to {max(at_zero):.0f} points")
corner = grid.each("UHBDNN", start | {"lambda2": 0.0, "lambda3": 0.0}, "balance")
assert min(corner) == 1 and mean(P, lambda2=0.0, lambda3=1e-3) < 3
ends = grid.each("UHBDNN", start | {"lambda2": 0.0, "lambda3": 1e-3}, "balance")
print("imbalance of the seeds at λ2 = 0, λ3 = 0.001:", ", ".join(f"{v:.2f}" for v in ends))
by_ratio = {
    r: [effect({"lambda2": a, "lambda3": b}) for a, b in pairs if np.isclose(a / b, r)]
    for r in (0.5, 5)
}
assert np.ptp(by_ratio[5]) < 1.3 and max(by_ratio[0.5]) < -8

# %% [markdown]
# ## Trainings of your own
#
# The grid answers what we thought of asking. With a kernel you ask more: `observe` trains in about a second, and the same view shows the result among the recorded points.

# %% tags=["nbval-ignore-output"]
rows = [row for row in grid.rows if row["method"] == "UHBDNN"]


def trained(name="trained", **values):
    mine = observe("UHBDNN", start | values, 0, dataset)
    return HTML(explorer_page(Grid([*rows, mine]), dataset, name, opened=mine))


trained("mine", lambda3=0.03, lambda4=0.0)

# %% [markdown]
# The same behind sliders of your own, of every value between the recorded ones; the button trains. (Widgets need a kernel, so the site shows none.)

# %% tags=["nbval-ignore-output", "remove-output"]
from ipywidgets import FloatLogSlider, IntSlider, interact_manual

sliders = {}
for name in ("lambda1", "lambda2", "lambda3", "lambda4"):  # from a hundredth to a hundredfold
    at = np.log10(start[name])
    sliders[name] = FloatLogSlider(start[name], min=at - 2, max=at + 2, description=label(name))
sliders["n_bits"] = IntSlider(16, min=8, max=32, description="bits")
train = interact_manual.options(manual_name="Train")
_ = train(lambda **values: trained(**values), **sliders)

# %% [markdown]
# ## What we have now
#
# `bdnn.course.explorer`, written by hand, holds the grid and the page; nothing is exported from this notebook.
#
# Which λ matter? Those of equality and independence, through their ratio, as the independence term must not outweigh the equality term, and $\lambda_2$ must not be large by itself. $\lambda_1$ and $\lambda_4$ must only be small enough. The weights of SH-BDNN and of Deep Hashing may be 0, and only $\lambda_2$, $\lambda_3$, $\alpha_1$ and $\alpha_3$ do harm where they are large. The number of bits matters more than a factor of ten in any of them.
#
# ## Questions
#
# Answer before you unfold; nothing has to be run.
#
# **Question 1.** A term of the objective falls by orders of magnitude, and the search gets no better. How can that be?
#
# <details><summary>Answer</summary>
#
# The terms look at the outputs $H$; the search uses their signs, and from $H$ to $\operatorname{sgn}(H)$ most of the effect is lost. Where the codes already start nearly balanced there is little to gain. And what one term gains another may lose.
#
# </details>
#
# **Question 2.** Why is a difference of two settings given with an interval over seeds?
#
# <details><summary>Answer</summary>
#
# Two trainings that differ in nothing but the seed differ in their results, too. Where the interval of the five differences holds 0, what we see may be chance, and one interval in twenty leaves 0 out by chance, too. Pairs help: the same seed draws the same digits.
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
# **14.3** Neither $\lambda_3=0$ nor $\lambda_4=0$ costs a point of precision. Perhaps each term does the work of the other? Train with both at 0, three seeds.
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
# * Do, Doan, Cheung, *Learning to Hash with Binary Deep Neural Network*, ECCV 2016: Eq. (1) is the objective of its unsupervised method.
# * Liong, Lu, Wang, Moulin, Zhou, *Deep Hashing for Compact Binary Codes Learning*, CVPR 2015: the objective of Eq. (2).
