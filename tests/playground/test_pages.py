"""The pages in a real browser: trained by clicks to the course's loss, by keyboard, on a phone, without an error."""

import ast
import subprocess
import sys

import pytest

from jaxnets.playground.run import Run
from jaxnets.playground.settings import PlaygroundSettings
from tests.browser import console_errors
from tests.playground.live import ROOT, plain_environment, serving

pytest.importorskip("aiohttp")
pytestmark = pytest.mark.slow

PUBLISHED = 0.018
"""The course's test loss on the circle, with 3 sigmoid neurons, after 1,000 epochs."""
PAGES = ("", "neuron", "backprop")


@pytest.fixture(scope="module")
def address():
    with serving(plain_environment()) as (_, port):
        yield f"http://127.0.0.1:{port}/"


class Page:
    """What a test does in a page; elements are found by their id."""

    def __init__(self, driver, address):
        self.driver = driver
        driver.get(address)

    def __getitem__(self, name):
        return self.driver.find_element("id", name)

    def click(self, name):
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", self[name])
        self[name].click()

    def write(self, name, words):
        """Over what stands in a field."""
        self.driver.execute_script("arguments[0].select()", self[name])
        self[name].send_keys(words)

    def choose(self, name, value):
        from selenium.webdriver.support.ui import Select

        Select(self[name]).select_by_value(value)

    def wait(self, condition, seconds=120):
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, seconds, poll_frequency=0.1).until(lambda _: condition())

    def wait_until_paused(self, epoch):
        self.wait(lambda: self["epoch"].get_attribute("data-paused") == str(epoch))

    def pixel(self, name, x, y):
        """The color in a picture, whose corners are (0, 0) and (1, 1), as red, green and blue."""
        script = """const [canvas, x, y] = arguments;
            const sheet = new OffscreenCanvas(1, 1).getContext("2d");
            sheet.drawImage(canvas, -Math.floor(x * canvas.width), -Math.floor(y * canvas.height));
            return [...sheet.getImageData(0, 0, 1, 1).data];"""
        return self.driver.execute_script(script, self[name], x, y)[:3]


def test_the_circle_by_clicks_to_the_courses_loss_and_again_by_program_and_link(browser, address):
    page = Page(browser, address)
    page.wait(lambda: page["fingerprint"].text != "–")
    page.click("data-xor")
    page.wait(lambda: "data=xor" in browser.current_url)
    page.choose("example", "circle")
    page.wait(lambda: "data=circle" in browser.current_url)
    page.choose("pace", "1000")
    page.click("play")
    page.wait_until_paused(1000)
    exact = {split: page[f"{split}-loss"].get_attribute("data-exact") for split in ("train", "test")}
    assert float(exact["test"]) <= PUBLISHED
    run = Run(PlaygroundSettings())
    for _ in range(1000):
        run.train()
    for split, numbers in run.measure().items():
        assert float(exact[split]) == pytest.approx(numbers["loss"], rel=0.01)
        assert page[f"{split}-loss"].text == f"{float(exact[split]):.3f}"
    red, _, blue = page.pixel("plane", 0.5, 0.5)
    assert blue > red  # the disc is 1
    red, _, blue = page.pixel("plane", 0.5, 0.02)
    assert red > blue  # and the ring -1

    program, fingerprint, link = (
        page["code"].get_attribute("textContent"),
        page["fingerprint"].text,
        browser.current_url,
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=plain_environment(), capture_output=True, text=True, check=True
    )
    printed = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert {split: ast.literal_eval(words)["loss"] for split, words in printed.items()} == exact

    assert "epochs=1000" in link
    browser.switch_to.new_window("tab")
    page = Page(browser, link)
    page.wait_until_paused(1000)
    assert page["fingerprint"].text == fingerprint
    assert not console_errors(browser)


def test_the_network_changes_by_clicks(browser, address):
    page = Page(browser, address + "#data=spiral&hidden=4,2&activation=tanh")
    page.wait(lambda: page["size"].text.startswith("25 parameters"))
    page.click("layer-0-Add")
    page.wait(lambda: page["size"].text.startswith("30 parameters"))  # 2 5 2 1
    page.click("more-layers")
    page.wait(lambda: page["layers"].text == "3 hidden layers")
    page.click("feature-sin(x1)")
    page.wait(lambda: page["size"].text.startswith("41 parameters"))  # 3 5 2 2 1
    assert len(browser.find_elements("css selector", ".links path")) == 3 * 5 + 5 * 2 + 2 * 2 + 2
    page.click("weights-summary")
    page.click("step")
    page.wait_until_paused(1)
    assert len(page["weights-table"].find_elements("css selector", "tbody tr")) == 10
    page.click("play")
    page.wait(lambda: page["play"].get_attribute("aria-label") == "Pause")
    page.click("play")
    page.wait(lambda: page["play"].get_attribute("aria-label") == "Play")
    page.write("goal", "3")
    page.click("train-seeds")
    page.wait(lambda: page["open-best"].is_enabled())
    assert "Epoch 3: median test loss" in page["cloud-words"].text
    page.click("open-best")
    page.wait(lambda: page["seed"].get_attribute("value") != "0" or page["epoch"].text == "0")
    assert not console_errors(browser)


def test_what_cannot_be_is_refused_with_words(browser, address):
    page = Page(browser, address + "#hidden=99")
    page.wait(lambda: page["error"].is_displayed())
    assert page["error"].text == "hidden[0] must be from 1 to 8, got 99"
    page.wait(lambda: page["layers"].text == "1 hidden layer")  # the default is there
    page.write("seed", "-5\t")
    page.wait(lambda: "seed must be from 0 to" in page["error"].text)
    page.wait(lambda: page["seed"].get_attribute("value") == "0")
    assert not console_errors(browser)


def test_by_keyboard_alone(browser, address):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    page = Page(browser, address)
    page.wait(lambda: page["fingerprint"].text != "–")

    def press(*keys):
        ActionChains(browser).send_keys(*keys).perform()

    for _ in range(30):
        press(Keys.TAB)
        if browser.switch_to.active_element.get_attribute("id") == "step":
            break
    style = browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
    assert style == "solid"  # one sees where one is
    press(Keys.ENTER)
    page.wait_until_paused(1)
    assert "Epoch 1." in page["live"].text  # and hears it
    browser.execute_script("arguments[0].focus()", page["data-circle"])
    press(Keys.ARROW_RIGHT)
    page.wait(lambda: "data=xor" in browser.current_url)
    browser.execute_script("arguments[0].focus()", page["feature-x1^2"])
    press(Keys.SPACE)
    page.wait(lambda: "x1^2" in browser.current_url or "x1%5E2" in browser.current_url)
    assert browser.switch_to.active_element.get_attribute("id") == "feature-x1^2"  # though the network is a new one
    assert not console_errors(browser)


@pytest.mark.parametrize("path", PAGES)
def test_every_control_has_a_name_and_the_page_fits_a_phone(browser, address, path):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    )
    page = Page(browser, address + path)
    page.wait(lambda: not path or page["theme"].is_displayed())
    browser.execute_async_script("setTimeout(arguments[0], 1500)")
    width = browser.execute_script("return document.documentElement.scrollWidth")
    assert width <= 390
    controls = browser.find_elements("css selector", "button, input, select, [role=img], [role=tab]")
    nameless = [
        control.get_attribute("outerHTML")
        for control in controls
        if control.is_displayed() and not control.accessible_name
    ]
    assert not nameless
    assert len(browser.find_elements("css selector", "h1")) == 1
    assert not console_errors(browser)


def test_one_neuron(browser, address):
    page = Page(browser, address + "neuron")
    page.wait(lambda: page["verdict"].text == "All four are right.")
    assert page["threshold-formula"].text == "[ 1 x₁ + 1 x₂ − 1.5 > 0 ]"
    page.choose("gate", "xor")
    page.wait(lambda: page["verdict"].text.startswith("1 of 4 are wrong."))
    page.choose("gate", "xor_layers")
    page.wait(lambda: page["verdict"].text == "All four are right.")
    page.click("tab-perceptron")
    page.wait(lambda: "The weights begin at random" in page["explanation"].text)
    page.click("learn-step")
    assert "Picked x =" in page["explanation"].text
    page.click("learn-end")
    page.wait(lambda: "All are right: the rule ends." in page["explanation"].text)
    assert "wrong now 0 of 4" in page["tally"].text
    page.click("tab-delta")
    page.wait(lambda: page["learn-step"].is_enabled())
    assert "The error is the target" in page["rule-words"].text
    page.click("learn-step")
    assert "error =" in page["explanation"].text
    assert not console_errors(browser)


HOLD = """const send = window.fetch, held = window.held = [];
    window.fetch = async (path, options) => {
      if (path === "/lesson/learn") await new Promise((release) => held.push(release));
      return send(path, options);
    };"""
"""As if the server compiled the rules until the test lets it answer one of the questions."""


def test_a_rule_that_is_compiled_shows_its_points_and_says_so(browser, address):
    page = Page(browser, address + "neuron#perceptron")
    page.wait(lambda: "The weights begin at random" in page["explanation"].text)
    browser.execute_script(HOLD)
    page.click("tab-delta")
    page.wait(lambda: page["explanation"].text == "Compiling the delta rule …")
    assert page["explanation"].get_attribute("aria-live") == "polite"
    assert "The error is the target" in page["rule-words"].text
    assert page["rate-field"].is_displayed()
    assert page["tally"].text == ""
    assert not any(page[f"learn-{name}"].is_enabled() for name in ("back", "step", "play", "end", "again"))
    words = "20 points; the line of the neuron is not there yet."
    page.choose("learn-data", "clouds")
    page.wait(lambda: page["learn-plane"].get_attribute("aria-label") == words)

    browser.execute_script("held[1]()")
    page.wait(lambda: "The weights begin at random" in page["explanation"].text)
    assert "wrong now" in page["tally"].text
    assert "of 20" in page["tally"].text
    browser.execute_script("held[0]()")  # the answer to the first question comes too late
    browser.execute_async_script("setTimeout(arguments[0], 500)")
    assert "of 20" in page["tally"].text
    assert not console_errors(browser)


def test_backpropagation_by_hand(browser, address):
    page = Page(browser, address + "backprop")
    page.wait(lambda: page["next"].is_enabled())
    page.click("next")
    assert page["line"].text == "h₁ = x₁ · w₁ + x₂ · w₂ = 2 · 0.11 + 3 · 0.21 = 0.85"
    page.click("all")
    lines = page["lines"].text
    for number in ("0.191", "0.3272", "−0.809", "0.2557"):
        assert number in lines
    page.click("again")
    page.wait(lambda: page["rounds"].text == "Step 2")
    assert not console_errors(browser)
