"""A browser for tests: Chromium without a window, driven by Selenium; both from the system and from PyPI.

`make browser` installs Chromium and its driver on Debian and Ubuntu. Without them the tests that need it are skipped.
"""

import contextlib
import shutil

import pytest

SWITCHES = (
    "--headless=new",
    "--no-sandbox",  # which Chromium refuses to do without for root, as whom CI runs
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-renderer-backgrounding",
    "--no-first-run",
    "--no-proxy-server",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
)


def programs():
    """The paths of Chromium and of its driver; a test that asks for them is skipped where one is missing."""
    found = [
        next(filter(None, map(shutil.which, names)), None)
        for names in (("chromium", "chromium-browser", "google-chrome"), ("chromedriver",))
    ]
    if None in found:
        pytest.skip("there is no Chromium with chromedriver here; `make browser` installs both")
    return found


@contextlib.contextmanager
def open_browser(folder, *, width=1280, height=900, switches=()):
    """A Selenium driver of a new browser, whose profile is in a folder; ended with the block."""
    selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    from selenium.webdriver.chrome.service import Service

    chromium, chromedriver = programs()
    options = selenium.ChromeOptions()
    options.binary_location = chromium
    for switch in (*SWITCHES, *switches, f"--window-size={width},{height}", f"--user-data-dir={folder}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = selenium.Chrome(options=options, service=Service(chromedriver))
    try:
        driver.set_page_load_timeout(60)
        yield driver
    finally:
        driver.quit()


def console_errors(driver):
    """What the pages wrote to the console since the last call, as errors or warnings, failed requests among them."""
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
