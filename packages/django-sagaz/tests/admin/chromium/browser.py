"""A real Chromium, without a window, that tells what it was asked for and what it complained about."""

from __future__ import annotations

import json
import shutil
from urllib.parse import urlsplit

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1400,1000",
    "--force-device-scale-factor=1",
)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")

# WCAG's relative luminance, of what was drawn: a text's colour, and the nearest background behind it.
CONTRAST = """
const luminance = ([r, g, b]) => {
  const [x, y, z] = [r, g, b].map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * x + 0.7152 * y + 0.0722 * z;
};
const parsed = text => text.match(/[\\d.]+/g).map(Number);
const opaque = text => text !== 'none' && (parsed(text)[3] ?? 1) > 0.99 && !text.startsWith('url');
const behind = element => {
  if (element instanceof SVGElement) {
    for (let e = element.parentElement; e instanceof SVGElement; e = e.parentElement) {
      const box = e.querySelector(':scope > rect');
      if (box) return getComputedStyle(box).fill;
    }
  }
  for (let e = element; e; e = e.parentElement) {
    const colour = getComputedStyle(e).backgroundColor;
    if (opaque(colour)) return colour;
  }
  return 'rgb(255, 255, 255)';
};
return [...document.querySelectorAll(arguments[0])].filter(e => e.getClientRects().length).map(element => {
  const style = getComputedStyle(element);
  const colours = [element instanceof SVGElement ? style.fill : style.color, behind(element)];
  const [a, b] = colours.map(c => luminance(parsed(c))).sort((x, y) => y - x);
  return {text: element.textContent.trim().slice(0, 60), class: element.getAttribute('class'), colours,
          ratio: (a + 0.05) / (b + 0.05)};
});
"""


class Browser:
    """Chromium at a live server."""

    def __init__(self, folder, origin):
        options = ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in (*FLAGS, f"--user-data-dir={folder}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = Chrome(options=options, service=Service(DRIVER))
        self.driver.set_page_load_timeout(30)
        self.origin = origin

    def log_in(self, client):
        """Take over the session of a test client."""
        self.driver.get(f"{self.origin}/admin/login/")
        self.driver.delete_all_cookies()
        self.driver.add_cookie({"name": "sessionid", "value": client.cookies["sessionid"].value})

    def look_in(self, mode):
        """Prefer light or dark pages, as the operating system would say."""
        features = [{"name": "prefers-color-scheme", "value": mode}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def open(self, path):
        self.driver.get(f"{self.origin}{path}")

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def until(self, selector):
        """Return an element when it is there."""
        return WebDriverWait(self.driver, 20).until(lambda driver: driver.find_element(By.CSS_SELECTOR, selector))

    def contrasts(self, selector):
        """Return each visible element with the contrast between its text and what is behind it."""
        return self.driver.execute_script(CONTRAST, selector)

    def complaints(self):
        """Return what the console says, since it was asked last."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def strangers(self):
        """Return the addresses of other origins that were asked for, since it was asked last."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith("data:") and not self.is_ours(url)]

    def is_ours(self, url):
        return "{0.scheme}://{0.netloc}".format(urlsplit(url)) == self.origin

    def picture(self, path):
        """Save the whole page."""
        width, height = self.driver.execute_script(
            "return [document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
        )
        metrics = {"width": max(width, 1400), "height": min(height, 6000), "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.save_screenshot(str(path))
        self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    def quit(self):
        self.driver.quit()
