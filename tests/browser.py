"""A browser to look at pages with."""

from __future__ import annotations

import shutil
from typing import Any

# headless, as root, without asking anybody anything; a click is no gesture that a test could make, a tone is no voice
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --autoplay-policy=no-user-gesture-required "
    "--use-fake-device-for-media-stream --use-fake-ui-for-media-stream"
)


def find_chromium() -> str | None:
    """The command of a Chromium that is here."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Visit:
    """A page that is open, and all that went wrong on it."""

    def __init__(self, chromium: Any, address: str, **options: Any) -> None:
        self.wrong: list[str] = []
        self.asked: list[str] = []
        self.page = chromium.new_context(**options).new_page()
        self.page.on("console", lambda m: self.wrong.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address)

    def until(self, condition: str, seconds: float = 5) -> None:
        """Wait for it; Playwright's own waiting evaluates words, which the page does not allow."""
        for _ in range(round(40 * seconds)):
            if self.page.evaluate(condition):
                return
            self.page.wait_for_timeout(25)
        raise AssertionError(f"never came: {condition}")
