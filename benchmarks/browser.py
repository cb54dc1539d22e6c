"""Chromium without a window, for pages that are files of this machine: for benchmarks and tests."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rl_reason.errors import RunError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
READY = "html[data-ready]"
"""Of a report page: when all that is in view is drawn."""


def missing() -> str:
    """What this machine lacks of a browser that can be steered; "" if it lacks nothing."""
    if not any(map(shutil.which, NAMES)):
        return f"no Chromium on the path: none of {', '.join(NAMES)}"
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "no package playwright: pip install playwright"
    return ""


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Raises `RunError` where there is none."""
    if lack := missing():
        raise RunError(lack)
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, NAMES)))
    with sync_playwright() as steered:
        # In containers Chromium's own sandbox mostly cannot start.
        opened = steered.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


def open_report(
    browser: Browser, file: Path, address: str = "", watch: Callable[[Page], None] | None = None, **settings: object
) -> tuple[Page, list[str]]:
    """A report page, when it is ready, and what went wrong on it so far and will: a list that grows.

    Args:
        browser: of `browser`.
        file: the page.
        address: what stands behind the file's, as "#stepFrom=3".
        watch: is called with the page before it is opened.
        settings: of `Browser.new_page`, as `color_scheme="dark"`.
    """
    page = browser.new_page(viewport={"width": 1440, "height": 900}, **settings)  # type: ignore[arg-type]
    if watch:
        watch(page)
    troubles: list[str] = []
    page.on("console", lambda told: troubles.append(told.text) if told.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("requestfailed", lambda request: troubles.append(f"asked for {request.url[:200]}"))
    page.goto(f"{file.resolve().as_uri()}{address}")
    page.wait_for_selector(READY, state="attached", timeout=120_000)
    return page, troubles
