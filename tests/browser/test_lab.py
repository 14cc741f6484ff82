"""The notebooks in JupyterLab: a reader opens one, runs it and sees its figures."""


def test_a_notebook_runs_from_top_to_bottom(page, lab, expect):
    lab.open(page, "notebooks/01_data.ipynb")
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    expect(page.locator(".jp-OutputArea-output")).to_have_count(0)
    lab.run_all(page)
    expect(page.locator(".jp-OutputArea img").first).to_be_visible()
    assert page.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
