"""A headless browser, where there is one."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

Open = Callable[..., webdriver.Chrome]


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    driver, chrome = shutil.which("chromedriver"), shutil.which("chromium") or shutil.which("google-chrome")
    if driver is None or chrome is None:
        pytest.skip("NO BROWSER FOUND: pages were not tested; install chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chrome
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for word in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
    ):
        options.add_argument(word)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    found = webdriver.Chrome(options=options, service=Service(driver))
    yield found
    found.quit()


@pytest.fixture
def opened(browser: webdriver.Chrome) -> Open:
    """Open a file at a width; dark or light."""

    def go(page: Path, *, width: int = 1000, height: int = 1400, dark: bool = False) -> webdriver.Chrome:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme)
        browser.get_log("browser")  # what earlier pages said
        browser.get(page.as_uri())
        return browser

    return go


def shows_well(driver: webdriver.Chrome) -> None:
    """No console message, every image has loaded, nothing is wider than the window."""
    assert driver.get_log("browser") == []
    broken = "return [...document.images].filter(i => !i.naturalWidth).map(i => i.alt)"
    assert driver.execute_script(broken) == []
    assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")
