"""Tries the leaderboard's page in headless Chromium: `make page-check`.

    python -m stockyard.scripts.page_check docs/leaderboard/quick/index.html

Desktop and phone, light and dark: that it loads nothing from elsewhere, fits the screen, sorts,
filters, can be used by keyboard, and logs no error. Screenshots go to runs/page_check. Needs the
extra `page` (Selenium), and Chromium with its driver.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
THEMES = ("light", "dark")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SETTINGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
LONGEST = 6000
"""Pixels of a page that a screenshot shows."""


def main() -> None:
    """Checks the pages that are named; exits with 1 where one fails."""
    parser = argparse.ArgumentParser(prog="page_check", description=__doc__)
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--screenshots", type=Path, default=Path("runs/page_check"))
    given = parser.parse_args()
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        sys.exit("page-check: needs Chromium and its driver (Debian: chromium, chromium-driver)")
    failed = 0
    for page in given.pages:
        if not page.is_file():
            sys.exit(f"page-check: there is no file {page}")
        for problem in check(page.resolve(), given.screenshots, browser, driver):
            print(f"{page}: {problem}")
            failed += 1
    if failed:
        sys.exit(1)
    print(f"page-check: {len(given.pages)} pages are right; screenshots in {given.screenshots}")


def check(page: Path, screenshots: Path, browser: str, driver: str) -> list[str]:
    """What is wrong with a page, at both sizes and in both themes."""
    screenshots.mkdir(parents=True, exist_ok=True)
    problems = []
    for size, (width, height) in SIZES.items():
        for theme in THEMES:
            with tempfile.TemporaryDirectory() as profile:
                window = _open(browser, driver, profile, width, height, theme)
                try:
                    window.get(page.as_uri())
                    for claim, holds in CLAIMS.items():
                        if not holds(window):
                            problems.append(f"{size}, {theme}: not so: {claim}")
                    window.get(page.as_uri())  # as it comes, not as the claims left it
                    _shoot(window, screenshots / f"{page.parent.name}_{size}_{theme}.png", width)
                finally:
                    window.quit()
    return problems


def _open(browser: str, driver: str, profile: str, width: int, height: int, theme: str) -> Any:
    """A window of a size that prefers a theme."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for setting in (*SETTINGS, f"--user-data-dir={profile}"):
        options.add_argument(setting)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    window = webdriver.Chrome(options=options, service=Service(driver))
    _resize(window, width, height)
    features = [{"name": "prefers-color-scheme", "value": theme}]
    window.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    return window


def _resize(window: Any, width: int, height: int) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    window.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def _shoot(window: Any, path: Path, width: int) -> None:
    """The whole page, as far as a picture of it is of use."""
    height = int(window.execute_script("return document.documentElement.scrollHeight"))
    _resize(window, width, min(height, LONGEST))
    window.save_screenshot(str(path))


def _loads_nothing(window: Any) -> bool:
    script = "return performance.getEntriesByType('resource').map(entry => entry.name)"
    return not [name for name in window.execute_script(script) if not name.startswith("data:")]


def _fits(window: Any) -> bool:
    root = "document.documentElement"
    return bool(window.execute_script(f"return {root}.scrollWidth <= {root}.clientWidth"))


def _logs_no_error(window: Any) -> bool:
    return not [entry for entry in window.get_log("browser") if entry["level"] == "SEVERE"]


def _sorts(window: Any) -> bool:
    """By keyboard: a heading takes the focus, and Enter sorts by it, then the other way."""
    from selenium.webdriver.common.keys import Keys

    found = window.find_elements("css selector", "table.board")
    if not found:
        return False
    heading = found[0].find_elements("css selector", "thead button")[1]
    orders = []
    for _ in range(2):
        heading.send_keys(Keys.ENTER)
        rows = found[0].find_elements("css selector", "tbody tr")
        orders.append([row.get_attribute("data-name") for row in rows])
    return orders[0] == sorted(orders[0], key=str.lower) and orders[1] == orders[0][::-1]


def _filters(window: Any) -> bool:
    rows = window.find_elements("css selector", "table.board tbody tr")
    name = str(rows[0].get_attribute("data-name"))
    box = window.find_element("id", "filter")
    box.send_keys(name)
    shown = {str(row.get_attribute("data-name")) for row in rows if row.is_displayed()}
    box.clear()
    box.send_keys(" ")  # `clear` alone is no input
    everybody = all(row.is_displayed() for row in rows)
    return bool(shown) and all(name.lower() in one.lower() for one in shown) and everybody


def _opens_cards(window: Any) -> bool:
    from selenium.webdriver.common.keys import Keys

    card = window.find_element("css selector", "details")
    summary = card.find_element("css selector", "summary")
    summary.send_keys(Keys.ENTER)
    is_open = card.get_attribute("open") is not None
    summary.send_keys(Keys.ENTER)
    return is_open and card.get_attribute("open") is None


def _changes_theme(window: Any) -> bool:
    script = "return getComputedStyle(document.body).backgroundColor"
    before = window.execute_script(script)
    button = window.find_element("id", "theme")
    button.click()
    after = window.execute_script(script)
    button.click()
    return bool(before != after)


CLAIMS: dict[str, Callable[[Any], bool]] = {
    "it loads nothing from elsewhere": _loads_nothing,
    "it is no wider than the screen": _fits,
    "a heading sorts by keyboard, both ways": _sorts,
    "the filter leaves who is asked for": _filters,
    "cards open and close by keyboard": _opens_cards,
    "the button changes the theme": _changes_theme,
    "the browser logs no error": _logs_no_error,
}


if __name__ == "__main__":
    main()
