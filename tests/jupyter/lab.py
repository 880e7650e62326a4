"""JupyterLab in a headless Chromium, driven as a person drives it: keys and menus' shortcuts, and what the page shows."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TIMEOUT = 180.0
_SETTINGS: dict[str, object] = {
    "notebook-extension/tracker": {"windowingMode": "none"},  # or cells out of sight are not on the page
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


def missing() -> str | None:
    """Say what is not here that this needs; None when all is."""
    for module in ("jupyterlab", "selenium"):
        try:
            __import__(module)
        except ImportError:
            return f"{module} is not installed: pip install 'kale-nb[browser]'"
    if _chromium() is None:
        return "there is no Chromium: apt install chromium"
    if shutil.which("chromedriver") is None:
        return "there is no chromedriver: apt install chromium-driver"
    return None


def _chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def server(folder: Path, private: Path) -> Iterator[str]:
    """Run a JupyterLab server on a folder; give its address. What it keeps goes below `private`."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("JPY_")}
    env |= {
        name: str(private / name.lower())
        for name in (
            "JUPYTER_CONFIG_DIR",
            "JUPYTER_DATA_DIR",
            "JUPYTER_RUNTIME_DIR",
            "JUPYTERLAB_SETTINGS_DIR",
            "JUPYTERLAB_WORKSPACES_DIR",
            "IPYTHONDIR",
        )
    }
    for name, text in _SETTINGS.items():
        file = private / "jupyterlab_settings_dir" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(text))
    log = private / "server.log"
    words = [
        "--no-browser",
        "--ServerApp.ip=127.0.0.1",
        "--ServerApp.port=0",
        "--IdentityProvider.token=kale",
        "--ServerApp.root_dir=" + str(folder),
    ]
    words += [
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--allow-root",
        "--LabApp.extension_manager=readonly",
    ]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *words], stdout=out, stderr=out, env=env, start_new_session=True
        )
    try:
        yield until(lambda: _address(log, process), "the server started")
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _address(log: Path, process: subprocess.Popen[bytes]) -> str | None:
    said = log.read_text(errors="replace")
    assert process.poll() is None, said
    found = re.search(r"http://127\.0\.0\.1:(\d+)/lab\?token=", said)
    if found is None:
        return None
    address = f"http://127.0.0.1:{found.group(1)}"
    try:
        with urllib.request.urlopen(f"{address}/api?token=kale", timeout=5) as answer:
            return address if "version" in json.load(answer) else None
    except OSError:
        return None


def until(ask: Callable[[], Any], what: str, timeout: float = TIMEOUT) -> Any:
    """Ask until there is an answer that is true."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.2)
    raise AssertionError(f"not within {timeout:.0f} s: {what}")


class Page:
    """A notebook that is open in JupyterLab."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, address: str, name: str, cells: int) -> None:
        """Open a notebook, alone on the page, and wait for its cells and its kernel."""
        self.driver.get(f"{address}/doc/tree/{name}?token=kale&reset")
        until(lambda: len(self.find(".jp-Notebook .jp-Cell")) == cells, "all cells are there")
        until(lambda: "Idle" in self._status(), "the kernel is ready")

    def _status(self) -> str:
        return " ".join(str(element.get_attribute("textContent")) for element in self.find("#jp-main-statusbar"))

    def find(self, css: str) -> list[Any]:
        """Return the elements that match."""
        from selenium.webdriver.common.by import By

        found: list[Any] = self.driver.find_elements(By.CSS_SELECTOR, css)
        return found

    def run_all(self) -> None:
        """*Run All Cells*, by the menu; again when the page was not ready to hear it."""

        def began() -> bool:
            prompts = [str(e.get_attribute("textContent")) for e in self.find(".jp-Notebook .jp-InputPrompt")]
            return any(re.search(r"\[(\*|\d+)\]", prompt) for prompt in prompts)

        for _ in range(5):
            self.menu("Run", "Run All Cells")
            with contextlib.suppress(AssertionError):
                until(began, "a cell runs", 15)
                return
        raise AssertionError("no cell runs")

    def menu(self, *path: str) -> None:
        """Choose from the menus."""
        self.driver.execute_script("document.activeElement && document.activeElement.blur()")
        bar = until(lambda: [e for e in self.find(".lm-MenuBar-item") if e.text.strip() == path[0]], f"menu {path[0]}")
        bar[0].click()
        for word in path[1:]:
            entry = until(lambda word=word: [e for e in self.find(".lm-Menu-item") if word in e.text], f"menu entry {word}")
            entry[0].click()

    def cell(self, number: int) -> Any:
        """The cell with this number, from 1."""
        return self.find(".jp-Notebook .jp-Cell")[number - 1]

    def inside(self, number: int, css: str) -> list[Any]:
        """Return what matches inside of a cell."""
        from selenium.webdriver.common.by import By

        found: list[Any] = self.cell(number).find_elements(By.CSS_SELECTOR, css)
        return found

    def said(self, number: int) -> str:
        """The text of a cell's output, empty when there is none (yet)."""
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'start'})", self.cell(number))
        return "\n".join(str(e.text) for e in self.inside(number, ".jp-Cell-outputArea"))

    def save(self) -> None:
        """Ctrl-S."""
        self.menu("File", "Save Notebook")

    def picture(self, path: Path) -> None:
        """Keep what the page shows."""
        self.driver.save_screenshot(str(path))


@contextmanager
def browser(private: Path, width: int = 1000, height: int = 1100) -> Iterator[Page]:
    """Start a headless Chromium."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = _chromium() or ""
    for word in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        f"--user-data-dir={private}/chromium",
        f"--window-size={width},{height}",
    ):
        options.add_argument(word)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    driver.set_page_load_timeout(TIMEOUT)
    try:
        yield Page(driver)
    finally:
        driver.quit()
