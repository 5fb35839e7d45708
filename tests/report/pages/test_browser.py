"""Reports in a real browser: reading, zooming, switching lines off, with mouse and keyboard, without errors."""

import pytest

from jaxnets.report import compare_runs, plot_curves, write_report
from tests.browser import open_browser
from tests.report.pages.made_runs import NASTY, make_run, rows_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with open_browser(tmp_path_factory.mktemp("profile"), width=1200) as driver:
        yield driver


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run", epochs=10, name=NASTY)


def opened(browser, file):
    browser.get_log("browser"), browser.get_log("performance")
    browser.get(file.as_uri())
    return browser.find_elements("css selector", "figure.chart")


def no_errors_and_no_requests(browser):
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    events = [entry["message"] for entry in browser.get_log("performance")]
    sent = [event for event in events if "Network.requestWillBeSent" in event and '"documentURL":"file:' in event]
    assert sent  # the page itself; pages of the browser's own send others
    assert all('"url":"file:' in message or '"url":"data:' in message for message in sent)


def values(chart):
    """What the tooltip says, by the name of the line."""
    lines = chart.find_elements("css selector", ".tip div")
    pairs = [[part.text for part in line.find_elements("css selector", ":scope > span")] for line in lines]
    return dict(pairs)


def ticks(chart):
    """The numbers below the horizontal axis."""
    texts = chart.find_elements("css selector", "svg[role] text[text-anchor=middle]")
    return [float(text.text) for text in texts if text.text != "epoch"]


def expected(run, epoch, name="loss"):
    found = {row["split"]: row[name] for row in rows_of(run) if row["epoch"] == epoch}
    return {split: pytest.approx(value, rel=1e-4) for split, value in found.items()}


def numbers(found):
    return {name: float(value) for name, value in found.items() if not name.startswith("epoch")}


def test_hovering_reads_the_values_of_an_epoch(browser, run):
    from selenium.webdriver import ActionChains

    chart = opened(browser, write_report(run))[0]
    svg = chart.find_element("css selector", "svg[role]")
    ActionChains(browser).scroll_to_element(chart).move_to_element_with_offset(
        svg, svg.size["width"] // 2 - 16, 0
    ).perform()
    assert chart.find_element("class name", "tip").text.startswith("epoch 10")
    assert numbers(values(chart)) == expected(run, 10)
    ActionChains(browser).move_to_element_with_offset(svg, -svg.size["width"] // 2 + 64, 0).perform()
    assert numbers(values(chart)) == expected(run, 1)
    no_errors_and_no_requests(browser)


def test_dragging_zooms_and_a_double_click_shows_all(browser, run):
    from selenium.webdriver import ActionChains

    chart = opened(browser, write_report(run))[0]
    svg = chart.find_element("css selector", "svg[role]")
    assert ticks(chart)[0] <= 2
    assert ticks(chart)[-1] == 10
    wide = svg.size["width"]
    ActionChains(browser).scroll_to_element(chart).move_to_element_with_offset(
        svg, 0, 0
    ).click_and_hold().move_by_offset(wide // 5, 0).release().perform()
    assert min(ticks(chart)) >= 5
    assert max(ticks(chart)) <= 8
    ActionChains(browser).double_click(svg).perform()
    assert ticks(chart)[-1] == 10
    no_errors_and_no_requests(browser)


def test_everything_works_by_keyboard(browser, run):
    from selenium.webdriver import Keys

    chart = opened(browser, write_report(run))[0]
    svg = chart.find_element("css selector", "svg[role]")
    svg.send_keys(Keys.ARROW_RIGHT)
    assert numbers(values(chart)) == expected(run, 1)
    svg.send_keys(Keys.ARROW_RIGHT)
    assert numbers(values(chart)) == expected(run, 2)
    said = chart.find_element("class name", "said").get_attribute("textContent")
    assert said.startswith("epoch 2 step 50, train ")
    svg.send_keys(Keys.END, "+")
    assert min(ticks(chart)) >= 5
    svg.send_keys("0")
    assert min(ticks(chart)) <= 2
    log = chart.find_element("css selector", "button.toggle")
    before = log.get_attribute("aria-pressed")
    svg.send_keys("l")
    assert log.get_attribute("aria-pressed") != before
    no_errors_and_no_requests(browser)


def test_lines_can_be_switched_off(browser, run):
    from selenium.webdriver import Keys

    chart = opened(browser, write_report(run))[0]
    (button,) = (found for found in chart.find_elements("css selector", ".legend button") if "validation" in found.text)
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    chart.find_element("css selector", "svg[role]").send_keys(Keys.HOME)
    assert set(numbers(values(chart))) == {"train"}
    no_errors_and_no_requests(browser)


def test_pages_fit_a_phone_and_a_dark_room(browser, run, tmp_path):
    other = make_run(tmp_path / "other", seed=1, learning_rate=0.3, epochs=10)
    compare_runs([run, other]).write(tmp_path / "out")
    (run / "gradients.txt").write_text("parameter  gradient\n" + f"{'layer/' * 8}kernel  0.1  1.0  1e-3  0%  vanishing")
    (run / "sample.txt").write_text("a very long line " * 20)
    plot_curves(rows_of(run), run / "mistakes.png")
    for file in (write_report(run), tmp_path / "out" / "compare.html"):
        size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        opened(browser, file)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
        colors = []
        for scheme in ("light", "dark"):
            feature = {"name": "prefers-color-scheme", "value": scheme}
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
            colors.append(browser.execute_script(_CONTRASTS))
        assert min(min(of_scheme) for of_scheme in colors) >= 4.5
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        no_errors_and_no_requests(browser)


_CONTRASTS = """
const light = (color) => {
  const parts = color.match(/[\\d.]+/g).map(Number).slice(0, 3).map((part) => part / 255);
  const linear = parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
};
const behind = (node) => {
  for (let at = node; at; at = at.parentElement) {
    const color = getComputedStyle(at).backgroundColor;
    if (!/rgba\\(.*, 0\\)/.test(color)) return color;
  }
  return "rgb(255, 255, 255)";
};
return [...document.querySelectorAll("h1, h2, p, th, td, pre, dt, dd, .status, .tag, a, summary")]
  .filter((node) => node.textContent.trim() && node.getClientRects().length)
  .map((node) => {
    const [a, b] = [light(getComputedStyle(node).color), light(behind(node))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  });
"""
