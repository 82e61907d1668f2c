"""A browser for the tests of pages: Debian's Chromium, driven by Playwright, which downloads none of its own."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def browser_file() -> str | None:
    """The browser of this machine."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


def what_is_missing() -> str:
    """What keeps the tests of pages from running, and how to get it; "" if nothing does."""
    for module, extra in {"dash": "explore", "playwright": "web", "axe_playwright_python": "web"}.items():
        if find_spec(module) is None:
            return f"no {module}; `make setup` installs it (the extra {extra})"
    if browser_file() is None:
        return "no Chromium; `apt-get install chromium` gets it"
    return ""


@contextmanager
def opened_browser() -> Iterator[Any]:
    """A headless browser without a profile."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_file(), headless=True, args=FLAGS)
        yield browser
        browser.close()


def axe_text() -> str:
    """The JavaScript of axe-core, which checks a page for people who cannot see or use a mouse."""
    import axe_playwright_python

    return (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


if __name__ == "__main__":
    # for make: one line if the tests are left out, and exit 1
    missing = what_is_missing()
    print(f"Tests in a browser (make test-web): {f'LEFT OUT: {missing}' if missing else 'can run'}")
    sys.exit(bool(missing))
