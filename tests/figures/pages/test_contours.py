"""The interactive page, in a browser."""

import json
import re
from pathlib import Path

import pytest
import torch
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from curvature import contour_network, curvature_bounds, gradient, logit, principal_curvatures, soften
from figures.pages import contours
from tests.figures.pages.conftest import Open, shows_well


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "contours.html"
    path.write_text(contours.page(contours.ladder((0, 2), (1.0, 30.0), (-0.4, 0.4))), encoding="utf-8")
    return path


def _shown(driver: webdriver.Chrome, name: str) -> float:
    return float(str(driver.find_element(By.ID, name).get_attribute("data-value")))


def _agrees(driver: webdriver.Chrome, seed: int) -> float:
    """Compare with Python at the point and sharpness that the page shows; returns the sharpness."""
    beta = _shown(driver, "beta-value")
    x = torch.tensor(driver.execute_script("return state.x"), dtype=torch.float64)
    f = logit(soften(contour_network(seed), beta), 0)
    assert _shown(driver, "value") == pytest.approx(f(x).item(), rel=1e-9)
    assert _shown(driver, "gradient") == pytest.approx(gradient(f, x).norm().item(), rel=1e-9)
    assert _shown(driver, "kappa") == pytest.approx(principal_curvatures(f, x).item(), rel=1e-9)
    return beta


def test_slider_seed_and_pointer_change_the_numbers_which_are_pythons(page: Path, opened: Open):
    """Oracle: ``curvature`` in Python, to a relative error of 1e-9, at both ends of the slider and between."""
    driver = opened(page)
    shows_well(driver)
    assert _agrees(driver, 0) == pytest.approx(1, rel=0.01)
    slider, picture = driver.find_element(By.ID, "beta"), driver.find_element(By.ID, "picture")
    slider.send_keys(Keys.END)
    assert _agrees(driver, 0) == pytest.approx(100)
    sharp = float(str(picture.get_attribute("data-top")))
    slider.send_keys(Keys.HOME)
    assert _agrees(driver, 0) == pytest.approx(0.3)
    assert float(str(picture.get_attribute("data-top"))) < sharp / 10  # the picture has moved with it
    slider.send_keys(*[Keys.PAGE_UP] * 6)
    ActionChains(driver).move_to_element_with_offset(picture, 60, -90).perform()
    before = driver.execute_script("return state.x")
    assert before[0] > 0.1
    assert before[1] > 0.1
    _agrees(driver, 0)
    Select(driver.find_element(By.ID, "seed")).select_by_value("2")
    _agrees(driver, 2)
    picture.send_keys(Keys.ARROW_LEFT)
    assert driver.execute_script("return state.x")[0] == pytest.approx(before[0] - 0.02)
    shows_well(driver)


def test_the_marker_is_where_the_pointer_is_and_a_move_of_it_draws_no_line_again(page: Path, opened: Open):
    """Oracle: the colour of the pixels on the marker's rim, before and after; a count of the calls of ``draw``."""
    driver = opened(page)
    rim = """const c = at("picture"), s = c.width, [x, y] = arguments[0];
        const [px, py] = [(x + 1) / 2 * s + s / 80, (1 - y) / 2 * s].map(Math.round);
        return [...c.getContext("2d").getImageData(px - 1, py - 1, 3, 3).data].some((v, i, all) =>
            i % 4 === 0 && v > 180 && all[i + 1] > 60 && all[i + 1] < 130 && all[i + 2] < 40 && all[i + 3] > 200);"""
    first, second = driver.execute_script("return state.x"), [-0.61, 0.53]
    assert [driver.execute_script(rim, x) for x in (first, second)] == [True, False]
    driver.execute_script("drawn = 0; const before = draw; draw = () => { drawn += 1; before(); }; move(-0.61, 0.53)")
    assert [driver.execute_script(rim, x) for x in (first, second)] == [False, True]
    assert driver.execute_script("return new Promise(done => requestAnimationFrame(() => done(drawn)))") == 0


@pytest.mark.parametrize("beta", [0.3, 7.0, 100.0])
def test_the_pages_functions_are_pythons_at_many_points(page: Path, opened: Open, beta: float):
    """Oracle: as above; kappa to 1e-9 of itself or of the largest, where terms cancel."""
    driver = opened(page)
    points = (2 * torch.rand(40, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64) - 1).tolist()
    script = "return arguments[1].map(p => jet(DATA.networks['2'], arguments[0], ...p))"
    f = logit(soften(contour_network(2), beta), 0)
    for found, point in zip(driver.execute_script(script, beta, points), points, strict=True):
        x = torch.tensor(point, dtype=torch.float64)
        assert found["gradient"] == pytest.approx(gradient(f, x).norm().item(), rel=1e-9)
        assert found["kappa"] == pytest.approx(principal_curvatures(f, x).item(), rel=1e-9)


def test_the_bounds_shown_are_those_of_the_nearest_point_and_sharpness(page: Path, opened: Open):
    """Oracle: ``curvature_bounds`` there."""
    driver = opened(page)
    words = driver.find_element(By.ID, "where").text
    assert words.startswith("beta = 1, x = (0.4, -0.4), seed 0.")
    rows = driver.execute_script("return [...at('bounds').rows].map(r => [...r.cells].map(c => c.textContent))")
    x = torch.tensor([0.4, -0.4], dtype=torch.float64)
    bounds = curvature_bounds(soften(contour_network(0), 1.0), x, target_class=0, radius=contours.RADIUS)
    assert [name for name, _ in rows] == list(bounds)
    for name, shown in rows:
        expected = bounds[name].curvature
        assert (shown == "–") if expected is None else expected <= float(shown) <= expected * (1 + 1.001e-4)


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (1.23451, "1.2346"),
        (1.23456, "1.2346"),
        (1.2345, "1.2345"),
        (9.99991, "10.000"),
        (123451.2, "1.2346e+5"),
        (1.00001e-9, "1.0001e-9"),
        (0, "0.0000"),
    ],
)
def test_a_bound_is_shown_rounded_up(page: Path, opened: Open, number: float, shown: str):
    """Oracle: by hand; to five digits rounding would show the first and the last but one too low."""
    assert opened(page).execute_script("return upward(arguments[0])", number) == shown


def test_bounds_are_computed_anew_when_what_computes_them_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Oracle: two functions with other sources; the first one's bounds are kept until then."""
    calls = []

    def first() -> list[dict[str, object]]:
        calls.append("first")
        return [{"of": "first"}]

    def second() -> list[dict[str, object]]:
        return [{"of": "second"}]

    monkeypatch.setattr(contours, "ladder", first)
    assert contours.kept_bounds(tmp_path) == contours.kept_bounds(tmp_path) == [{"of": "first"}]
    assert calls == ["first"]
    monkeypatch.setattr(contours, "ladder", second)
    assert contours.kept_bounds(tmp_path) == [{"of": "second"}]


def test_the_page_works_on_a_phone_in_the_dark(page: Path, opened: Open):
    """Oracle: headless Chromium; the picture has lines."""
    driver = opened(page, width=360, dark=True)
    shows_well(driver)
    assert int(str(driver.find_element(By.ID, "picture").get_attribute("data-pieces"))) > 500


def test_the_page_stands_alone(page: Path):
    """Oracle: no address but that of MathML's names, data that parse."""
    text = page.read_text(encoding="utf-8")
    assert set(re.findall(r"https?://[\w./]+", text)) == {"http://www.w3.org/1998/Math/MathML"}
    found = re.search(r"const DATA = (.*);", text)
    assert found is not None
    assert len(json.loads(found[1])["networks"]["0"]["V"]) == 50


def test_no_bounds_is_refused():
    """Oracle: the error."""
    with pytest.raises(ValueError, match="got none"):
        contours.page([])
