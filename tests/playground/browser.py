"""A real browser: Debian's Chromium, driven by Playwright."""

import os
import shutil

import pytest
from playwright.sync_api import Browser, Playwright

from tests.promtool import REQUIRED

__all__ = ["launch"]

_NAMES = ("chromium", "chromium-browser", "google-chrome")


def launch(playwright: Playwright) -> Browser:
    """Return a headless browser; fail or skip the test where there is none."""
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        sentence = "Chromium is not installed; on Debian and Ubuntu: apt-get install chromium"
        if os.environ.get(REQUIRED):
            return pytest.fail(sentence)
        return pytest.skip(sentence)
    # in a container there is neither the kernel's sandbox nor a large /dev/shm
    options = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
    return playwright.chromium.launch(executable_path=program, args=options)
