"""The page of a study, its times and its estimates."""

import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from attacks.report.study import study_page
from attacks.studies import load_study
from attacks.studies.estimate import Pace, as_words
from attacks.studies.plan import plan


def test_the_page_stands_alone_and_says_the_numbers(finished):
    """Oracle: medians from the summary; no address is in the page."""
    page = (finished / "report.html").read_text()
    table = pd.read_csv(finished / "summary.csv")
    assert "http://" not in page
    assert "https://" not in page
    before, after = (table[f"explanation_pcc_target{word}"].median() for word in ("_before", ""))
    assert f"{before:.3g} → {after:.3g}" in page
    assert f"{table['output_class_kept'].sum()} of 12" in page
    for words in ("a test of the runner", "UCI optical digits", "10th and 90th percentile", "one at a time"):
        assert words in page


def test_the_page_shows_in_a_browser(finished, tmp_path):
    """Oracle: headless Chromium; every image has loaded, nothing is wider than a phone."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("NO BROWSER FOUND: the page was not tested; install Chromium")
    script = (
        "<script>addEventListener('load',()=>{const i=[...document.images];"
        "document.title='images '+i.length+' loaded '+i.filter(x=>x.naturalWidth>0).length+' overflow '+"
        "(document.documentElement.scrollWidth>innerWidth)})</script>"
    )
    page = tmp_path / "probe.html"
    page.write_text((finished / "report.html").read_text() + script)
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=400,800", "--no-first-run"]
    options += ["--disable-background-networking", f"--user-data-dir={tmp_path / 'profile'}"]
    command = [browser, *options, "--virtual-time-budget=3000", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=True)
    title = done.stdout.split("<title>")[1].split("</title>")[0]
    assert title == "images 5 loaded 5 overflow false"


def test_boxes_are_median_quartiles_and_whiskers_at_the_tenth_and_ninetieth_percentile(finished):
    """Oracle: numpy's percentiles against the lines that matplotlib draws."""
    from attacks.report.study import _boxes

    values = np.arange(101.0) ** 2
    figure = _boxes([(("a", "b", "c", "d"), pd.DataFrame({"x": values}))], {"after": "x"})
    (axes,) = figure.axes
    ends = sorted({round(float(v), 6) for line in axes.lines for v in np.asarray(line.get_xdata(), dtype=float)})
    assert ends == [100.0, 625.0, 2500.0, 5625.0, 8100.0]


def test_failed_tasks_and_missing_times_are_said(finished, study):
    """Oracle: the page's text."""
    table = pd.read_csv(finished / "summary.csv")
    times = pd.read_csv(finished / "timings.csv")
    times.loc[0, "seconds"] = None
    page = study_page(load_study(str(study)), table, times, failed=3)
    assert "3 tasks failed" in page


def test_a_pace_is_the_mean_of_its_kind_and_of_all_for_kinds_never_seen(study):
    """Oracle: arithmetic; twelve equal tasks of which two took 3 s and 5 s take 4 s each."""
    tasks = plan(load_study(str(study))).tasks
    pace = Pace()
    assert pace.seconds(tasks) == 0
    pace.learn(tasks[0], 3.0)
    pace.learn(tasks[1], 5.0)
    assert pace.seconds(tasks) == pytest.approx(48.0)
    assert [as_words(s) for s in (5.0, 300.0, 7200.0)] == ["5 s", "5 min", "2.0 h"]
