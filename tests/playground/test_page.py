"""Tests of the playground's page in a real browser, as people use it."""

import base64
import json
import os
import zlib
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect

import webhook.playground
from tests.playground.browser import chromium
from tests.playground.process import Playground, playground

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = Path(webhook.playground.__file__).parent / "examples"
WIDE, NARROW = (1360, 900), (360, 780)
MIB = 1024 * 1024
POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: shop
  annotations:
    pillion.dev/inject: "true"
    pillion.dev/logs: /var/log/shop/*.log
spec:
  containers:
    - name: shop
      image: registry.example.com/shop:1.4
"""
BAD = POD.replace("/var/log/shop", "var/log/shop")
EVIL = "<img src=x onerror=hacked()><script>hacked()</script>"
HOSTILE = f"""\
apiVersion: v1
kind: Pod
metadata:
  name: "{EVIL}"
  namespace: "{EVIL}"
  annotations: {{pillion.dev/inject: "true", pillion.dev/profile: "{EVIL}", "pillion.dev/{EVIL}": "{EVIL}"}}
spec:
  initContainers: [{{name: "{EVIL}", image: "{EVIL}"}}]
  containers:
    - {{name: "{EVIL}", image: "{EVIL}", volumeMounts: [{{name: "{EVIL}", mountPath: "{EVIL}", subPath: "{EVIL}"}}]}}
  volumes: [{{name: "{EVIL}", "{EVIL}": {{}}}}]
"""
#: How long a machine with a lot to do may take, in milliseconds.
PATIENCE = 60_000
expect.set_options(timeout=PATIENCE)
#: Makes the pictures of the docs (make screenshots).
PICTURES = os.environ.get("PILLION_SCREENSHOTS")


@pytest.fixture(scope="module")
def server() -> Iterator[Playground]:
    """Yield the playground."""
    with playground() as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Yield a browser."""
    with chromium() as running:
        yield running


Open = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, server: Playground) -> Iterator[Open]:
    """Return what opens the page in a window of its own; it may neither fail nor ask anybody else."""
    contexts, complaints, asked = [], [], []

    def open_one(fragment: str = "", size: tuple[int, int] = WIDE, scheme: Any = "light") -> Page:
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=server.address)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{server.address}{fragment}")
        expect(page.get_by_role("button", name="Log file")).to_be_visible()
        return page

    yield open_one
    cookies = [cookie for context in contexts for cookie in context.cookies()]
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in asked if not url.startswith(server.address)] == []
    assert cookies == []


def manifest(page: Page) -> Any:
    """Return the manifest's text area."""
    return page.get_by_role("textbox", name="Manifest")


def status(page: Page) -> Any:
    """Return the verdict."""
    return page.locator("#status")


def violations(page: Page) -> list[str]:
    """Return what axe finds, by the criteria of WCAG 2.2 AA and its own best practices."""
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [f"{each['id']}: {node['html'][:200]}" for each in found for node in each["nodes"]]


def drop(page: Page, *files: tuple[str, str]) -> None:
    """Drop files of these names and texts on the page."""
    transfer = page.evaluate_handle(
        """files => {
            const transfer = new DataTransfer();
            for (const [name, text] of files) transfer.items.add(new File([text], name));
            return transfer;
        }""",
        [list(file) for file in files],
    )
    page.dispatch_event("#result-title", "dragover", {"dataTransfer": transfer})
    page.dispatch_event("#result-title", "drop", {"dataTransfer": transfer})


def paste(page: Page, text: str) -> None:
    """Paste a text into the manifest."""
    manifest(page).focus()
    page.evaluate("text => navigator.clipboard.writeText(text)", text)
    page.keyboard.press("Control+V")


# --- what it shows -----------------------------------------------------------------------------------------------


def test_an_empty_page_teaches(open_page: Open) -> None:
    """It says what to do, and shows nothing that is not there."""
    page = open_page()
    expect(page.get_by_text("two annotations of the pod template")).to_be_visible()
    expect(page.locator("#snippet")).to_contain_text('pillion.dev/inject: "true"')
    expect(page.locator("#about")).to_be_hidden()
    expect(page.get_by_role("button", name="Use tail")).to_be_disabled()


def test_who_types_sees_the_injected_manifest(open_page: Open) -> None:
    """With what is new marked, each rule, and the pod."""
    page = open_page()
    manifest(page).click()
    page.keyboard.insert_text(POD)
    expect(status(page)).to_have_text("Injected Pod/shop with profile tail: 77 new lines.")
    expect(page.locator("#result ins", has_text="- name: pillion-tail")).to_be_visible()
    expect(page.locator("#result span", has_text="name: shop").first).to_be_visible()
    expect(page.locator("#added")).to_have_text("+ 77 lines")
    expect(page.get_by_role("listitem").filter(has_text="Is injection requested?")).to_contain_text(
        'yes: Is injection requested?pillion.dev/inject: "true"'
    )
    new = page.locator("#pod .box.new .name")
    assert new.all_text_contents() == ["pillion-tail", "pillion-logs-1", "pillion-state", "pillion-no-token"]
    shop = page.locator("#pod .box", has=page.get_by_text("shop", exact=True))
    expect(shop).to_contain_text("+ variables POD_NAME, POD_NAMESPACE")
    expect(shop.locator(".mounts li.new")).to_contain_text("/var/log/shop")
    curves = page.locator("#pod svg path")
    assert curves.count() == page.locator("#pod .mounts li").count() == 4
    manifest(page).press("Control+A")
    page.keyboard.insert_text(BAD)
    expect(status(page)).to_contain_text("Not injected Pod/shop")
    expect(page.locator("#added")).to_have_text("unchanged")
    expect(page.locator("#rules .no")).to_contain_text("must begin with /; write /var/log/shop/*.log")


def test_a_problem_leads_to_its_place(open_page: Open) -> None:
    """Its line is marked, and the cursor goes there."""
    page = open_page()
    manifest(page).fill(BAD)
    problem = page.locator("#problems button")
    expect(problem).to_contain_text("7:5")
    expect(problem).to_contain_text("write /var/log/shop/*.log")
    expect(page.locator("#bands .warning")).to_have_count(1)
    problem.click()
    expect(manifest(page)).to_be_focused()
    assert manifest(page).evaluate("area => area.value.slice(0, area.selectionStart)").count("\n") == 6
    assert manifest(page).evaluate("area => getSelection().toString()").startswith("pillion.dev/logs")
    manifest(page).fill("kind: Pod\n  name: [\n")
    expect(status(page)).to_contain_text("Not readable.")
    expect(page.locator("#problems .place")).to_have_text("line and column 2:7")


def test_each_pod_of_a_text_can_be_shown(open_page: Open) -> None:
    """One at a time."""
    page = open_page()
    manifest(page).fill(f"{POD}---\n{BAD.replace('name: shop', 'name: cart')}")
    expect(status(page)).to_contain_text("Injected Pod/shop with profile tail: 77 new lines in all.")
    page.get_by_label("Pod", exact=True).select_option("Pod/cart, not injected")
    expect(status(page)).to_contain_text("Not injected Pod/cart")
    manifest(page).fill("kind: Service\napiVersion: v1\n")
    expect(status(page)).to_contain_text("No pod.")
    expect(page.get_by_label("Pod", exact=True)).to_be_hidden()


def test_examples_are_one_click_away(open_page: Open) -> None:
    """Each is shown, with its first change in sight, and its button says so."""
    page = open_page()
    for number, path in enumerate(sorted(EXAMPLES.glob("*.yaml"))):
        chosen = page.locator("#examples button").nth(number)
        chosen.click()
        expect(manifest(page)).to_have_value(path.read_text())
        expect(page.locator("#examples [aria-pressed=true]")).to_have_text(chosen.text_content() or "")
        expect(status(page)).to_contain_text("Not injected" if "mistakes" in path.name else "Injected")
        if "mistakes" not in path.name:
            expect(page.locator("#result ins").first).to_be_in_viewport()


def test_the_back_button_leads_to_the_text_before(open_page: Open) -> None:
    """An example in its place loses nobody's work, nor does Clear; Forward leads to them again."""
    page = open_page()
    manifest(page).fill(f"{POD}# my own\n")
    expect(status(page)).to_contain_text("Injected Pod/shop")
    page.get_by_role("button", name="Web page").click()
    expect(status(page)).to_contain_text("Injected Deployment/bulletin")
    page.get_by_role("button", name="Clear").click()
    expect(manifest(page)).to_have_value("")
    page.go_back()
    expect(status(page)).to_contain_text("Injected Deployment/bulletin")
    page.go_back()
    expect(manifest(page)).to_have_value(f"{POD}# my own\n")
    page.go_forward()
    expect(status(page)).to_contain_text("Injected Deployment/bulletin")
    page.go_forward()
    expect(manifest(page)).to_have_value("")


@pytest.mark.parametrize("number", ["1e300", "-1", "9007199254740993", '"1"', "null"])
def test_a_link_to_a_pod_that_is_not_there(open_page: Open, number: str) -> None:
    """Leads to the first one."""
    page = open_page(fragment(f'{{"text": {json.dumps(POD)}, "workload": {number}}}'.encode()))
    expect(status(page)).to_contain_text("Injected Pod/shop")


def test_a_namespace_may_opt_in(open_page: Open) -> None:
    """By a check box."""
    page = open_page()
    manifest(page).fill(POD.replace('    pillion.dev/inject: "true"\n', ""))
    expect(status(page)).to_contain_text("Not injected")
    page.get_by_label("The namespace opts in").check()
    expect(status(page)).to_contain_text("Injected Pod/shop")


def test_changes_can_be_walked_through(open_page: Open) -> None:
    """One after the other, and from the beginning again."""
    page = open_page()
    manifest(page).fill(POD)
    forward = page.get_by_role("button", name="Next change")
    places = []
    for _ in range(8):
        forward.click()
        places.append(page.locator("#result").evaluate("box => box.scrollTop"))
    assert places[0] < places[1]
    assert places[0] in places[2:]


# --- what it does ------------------------------------------------------------------------------------------------


def test_the_form_writes_annotations(open_page: Open) -> None:
    """Into the text, and shows what is wrong with them."""
    page = open_page()
    manifest(page).fill(POD + "# the end\n")
    expect(page.get_by_label("logs", exact=True)).to_have_value("/var/log/shop/*.log")
    page.get_by_label("profile", exact=True).select_option("web")
    expect(status(page)).to_contain_text("with profile web")
    assert manifest(page).input_value() == POD.replace("spec:", "    pillion.dev/profile: web\nspec:") + "# the end\n"
    user = page.get_by_label("run-as-user")
    user.fill("me")
    expect(page.locator("#annotation-run-as-user-fault")).to_contain_text("write a user id")
    expect(user).to_have_attribute("aria-invalid", "true")
    expect(user).to_be_focused()
    user.fill("")
    page.get_by_label("profile", exact=True).select_option("not set")
    expect(manifest(page)).to_have_value(POD + "# the end\n")
    page.get_by_role("button", name="Use otel").click()
    expect(status(page)).to_contain_text("Not injected")
    expect(page.get_by_label("profile", exact=True)).to_have_value("otel")


def test_what_is_set_at_the_same_time_is_not_lost(open_page: Open) -> None:
    """Two fields, and the text, before there is an answer to any of them."""
    page = open_page()
    manifest(page).fill(POD)
    expect(status(page)).to_contain_text("Injected Pod/shop")
    held: list[Route] = []
    page.route("**/ask", lambda route: held.append(route), times=1)  # noqa: PLW0108 — Playwright takes no built-in
    with page.expect_request("**/ask"):
        page.get_by_label("profile", exact=True).select_option("web")
    page.get_by_label("env", exact=True).select_option("false")
    manifest(page).press("Control+End")
    page.keyboard.insert_text("# more\n")
    held[0].continue_()
    added = '    pillion.dev/profile: web\n    pillion.dev/env: "false"\nspec:'
    expect(manifest(page)).to_have_value(POD.replace("spec:", added) + "# more\n")
    expect(status(page)).to_contain_text("with profile web")


@pytest.mark.parametrize("files", [(("a.yaml", POD),), (("a.yaml", POD.rstrip("\n")), ("b.yaml", BAD))])
def test_files_can_be_dropped(open_page: Open, files: tuple[tuple[str, str], ...]) -> None:
    """Anywhere on the page; several become one stream."""
    page = open_page()
    drop(page, *files)
    expect(status(page)).to_contain_text("Injected Pod/shop")
    expect(manifest(page)).to_have_value("---\n".join([POD, BAD][: len(files)]))


def test_the_result_can_be_copied(open_page: Open) -> None:
    """All of it, as the command would print it."""
    page = open_page()
    manifest(page).fill(POD)
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(page.locator("#toast")).to_have_text("The injected manifest is copied.")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("apiVersion: v1\nkind: Pod\n")
    assert copied.count("\n") == POD.count("\n") + 77
    expect(page.locator("#added")).to_have_text("+ 77 lines")


def test_a_link_holds_the_state(open_page: Open, server: Playground) -> None:
    """Whoever opens it sees the same; the server is not told what is in it."""
    page = open_page()
    manifest(page).fill(f"{POD}---\n{BAD}# ünïcode 🚲\n")
    page.get_by_label("The namespace opts in").check()
    page.get_by_label("Pod", exact=True).select_option(index=1)
    expect(status(page)).to_contain_text("Not injected")
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator("#toast")).to_contain_text("The link is copied.")
    link = page.evaluate("navigator.clipboard.readText()")
    assert link.startswith(f"{server.address}#1.")
    other = open_page(link.removeprefix(server.address))
    expect(status(other)).to_contain_text("Not injected")
    assert manifest(other).input_value() == manifest(page).input_value()
    expect(other.get_by_label("The namespace opts in")).to_be_checked()
    expect(other.get_by_label("Pod", exact=True)).to_have_value("1")
    # a reload keeps it, too, and so does another link in the same window
    other.reload()
    expect(status(other)).to_contain_text("Not injected")
    other.evaluate("fragment => { location.hash = fragment; }", fragment(json.dumps({"text": POD}).encode()))
    expect(status(other)).to_contain_text("Injected Pod/shop")


def fragment(state: bytes) -> str:
    """Return what a link has behind its address."""
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(state) + packer.flush()
    return f"#1.{base64.urlsafe_b64encode(packed).decode().rstrip('=')}"


def test_a_link_that_holds_none_is_said(open_page: Open) -> None:
    """The page is as usable as before; what unpacks to a hundred megabytes is not unpacked."""
    bomb, no_object, no_text = map(fragment, (b" " * 99 * MIB, b"[]", b'{"text": 1}'))
    page = open_page("#1.%%%")
    expect(page.locator("#toast")).to_have_text("This link can't be read.")
    for link in ("#1.", "#1.AAAA", "#2.AAAA", "#<script>", no_object, no_text, bomb):
        page.evaluate("document.getElementById('toast').replaceChildren()")
        page.evaluate("fragment => { location.hash = fragment; }", link)
        expect(page.locator("#toast")).to_have_text("This link can't be read.")
    expect(manifest(page)).to_have_value("")
    page.get_by_role("button", name="Log file").click()
    expect(status(page)).to_contain_text("Injected Pod/ticker")
    # it stops to unpack in time
    unpack = "fragment => import('/script/link.js').then(({ fromFragment }) => fromFragment(fragment))"
    small, large = (fragment(json.dumps({"text": "x" * size}).encode()) for size in (MIB, 7 * MIB))
    assert page.evaluate(unpack, small)
    assert page.evaluate(unpack, large) is None


def test_all_of_it_works_with_the_keyboard(open_page: Open) -> None:
    """Tab reaches each control in the order of the page, each shows that it has the focus, and none keeps it."""
    page = open_page()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the manifest")).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.insert_text(BAD)
    expect(page.locator("#problems button")).to_be_visible()
    page.locator("body").evaluate("() => document.activeElement.blur()")
    page.evaluate("document.body.tabIndex = -1; document.body.focus()")
    reached: list[tuple[str, bool]] = []
    for _ in range(80):
        page.keyboard.press("Tab")
        found = page.evaluate(
            """() => {
                const at = document.activeElement, look = getComputedStyle(at);
                if (at === document.body) return null;
                const visible = look.outlineStyle !== "none" && parseFloat(look.outlineWidth) >= 2;
                return [at.id || at.textContent.trim(), visible];
            }"""
        )
        if found is None or (reached and found[0] == reached[0][0]):
            break
        reached.append((found[0], found[1]))
    assert [name for name, visible in reached if not visible] == []
    names = [name for name, _ in reached]
    wanted = ["share", "Log file", "Mistakes", "opted-in", "clear", "manifest", "copy", "result", "annotation-inject"]
    assert [name for name in names if name in wanted] == wanted
    assert names.index("annotation-memory-limit") < names.index("Use")
    # a problem, and an example
    page.locator("#problems button").focus()
    page.keyboard.press("Enter")
    expect(manifest(page)).to_be_focused()
    page.get_by_role("button", name="Web page").focus()
    page.keyboard.press("Space")
    expect(status(page)).to_contain_text("Injected Deployment/bulletin")


def test_what_happens_is_told(open_page: Open) -> None:
    """To those who do not see it: the verdict and the toast are live regions, and all controls have names."""
    page = open_page()
    assert page.locator("[role=status]").evaluate_all("all => all.map(each => each.id)") == ["status", "toast"]
    manifest(page).fill(POD)
    expect(page.get_by_role("status").first).to_contain_text("Injected Pod/shop")
    expect(page.get_by_role("region", name="Result")).to_be_visible()


# --- how it looks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["", POD, BAD, "- a\n", "kind: Service\n"], ids=["empty", "good", "bad", "unreadable", "no pod"]
)
def test_everybody_can_read_it(open_page: Open, text: str) -> None:
    """The checker finds nothing: contrast, names, roles, structure; and nothing is wider than the screen."""
    page = open_page()
    if text:
        manifest(page).fill(text)
        expect(status(page)).not_to_contain_text("Type a manifest")
    schemes: list[Literal["light", "dark"]] = ["light", "dark"]
    for (width, height), scheme in product((WIDE, NARROW), schemes):
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") == width


def test_a_violation_would_be_found(open_page: Open) -> None:
    """The checker itself can fail."""
    page = open_page()
    page.evaluate(
        "document.querySelector('.top p').style.color = 'silver'; document.getElementById('share').textContent = ''"
    )
    assert {each.partition(":")[0] for each in violations(page)} == {"color-contrast", "button-name"}


def test_it_is_dark_where_all_is_dark(open_page: Open) -> None:
    """As the system says."""
    ground = "getComputedStyle(document.body).backgroundColor"
    light, dark = (open_page(scheme=scheme).evaluate(ground) for scheme in ("light", "dark"))
    assert [sum(map(int, colour[4:-1].split(","))) > 3 * 128 for colour in (light, dark)] == [True, False]


# --- hostile texts -----------------------------------------------------------------------------------------------


def test_names_execute_nothing(open_page: Open) -> None:
    """Script in every name stays text; what tries is reported by no policy, since nothing tries."""
    page = open_page()
    page.evaluate(
        """() => {
            window.attacks = [];
            window.hacked = () => attacks.push("executed");
            addEventListener("securitypolicyviolation", (event) => attacks.push(event.violatedDirective));
        }"""
    )
    manifest(page).fill(HOSTILE)
    expect(status(page)).to_contain_text(EVIL)
    expect(page.locator("#pod .box").first).to_contain_text(EVIL)
    manifest(page).fill(HOSTILE.replace(f'pillion.dev/profile: "{EVIL}", ', ""))
    expect(page.get_by_label("profile", exact=True)).to_have_value("")
    page.get_by_label("logs", exact=True).fill(EVIL)
    expect(page.locator("#annotation-logs-fault")).not_to_be_empty()
    manifest(page).fill(f"{EVIL}: [")
    expect(status(page)).to_contain_text("Not readable.")
    assert page.evaluate("[document.images.length, document.scripts.length, window.attacks]") == [1, 1, []]


def test_the_policy_stops_what_is_inline(browser: Browser, server: Playground) -> None:
    """If something were made HTML all the same: it is not even parsed."""
    page = browser.new_page()
    page.goto(server.address)
    tried = "() => { try { document.body.innerHTML = '<b>'; return ''; } catch (error) { return String(error); } }"
    assert "TrustedHTML" in page.evaluate(tried)
    page.close()


def big(size: int) -> str:
    """Return workloads of so many bytes."""
    one = POD + "---\n"
    return one * (size // len(one))


def test_five_megabytes_are_declined(open_page: Open) -> None:
    """Dropped or pasted: the page says what takes them, and keeps the text that it has."""
    page = open_page()
    manifest(page).fill(POD)
    for dropped in (True, False):
        if dropped:
            drop(page, ("big.yaml", big(5 * MIB)))
        else:
            paste(page, big(5 * MIB))
        expect(page.locator("#toast")).to_contain_text("longer than 1 MiB")
        expect(manifest(page)).to_have_value(POD)
        page.evaluate("document.getElementById('toast').replaceChildren()")
    # as it might grow
    script = "(area, text) => { area.value = text; area.dispatchEvent(new Event('input')); }"
    manifest(page).evaluate(script, f"# {'x' * MIB}")
    expect(status(page)).to_contain_text("No answer. This is longer than 1 MiB.")
    page.get_by_role("button", name="Log file").click()
    expect(status(page)).to_contain_text("Injected Pod/ticker")


@pytest.mark.parametrize("kind", ["workloads", "one line", "aliases"])
def test_the_page_stays_alive_while_the_server_works(open_page: Open, kind: str) -> None:
    """A text of the largest size is worked on; whoever goes on sees the newer text's answer, and no older one."""
    bomb = "a: &a [x]\n" + "".join(f"b{n}: [{', '.join(['*a'] * 1000)}]\n" for n in range(200))
    text = {"workloads": big(MIB - 1000), "one line": f"a: '{'x ' * (MIB // 2 - 100)}'", "aliases": bomb}[kind]
    page = open_page()
    with page.expect_request("**/ask"):
        paste(page, text)
    # its event loop turns, and its buttons work
    assert page.evaluate("new Promise(resolve => requestAnimationFrame(() => resolve(true)))")
    page.get_by_role("button", name="Log file").click()
    expect(status(page)).to_contain_text("Injected Pod/ticker")
    expect(manifest(page)).to_have_value(min(EXAMPLES.glob("*.yaml")).read_text())


def test_a_long_result_is_cut_where_it_is_shown(open_page: Open) -> None:
    """Not where it is copied."""
    page = open_page()
    paste(page, big(100 * 1024))
    expect(page.locator("#result .more")).to_contain_text("Copy takes all of it")
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(page.locator("#toast")).to_have_text("The injected manifest is copied.")
    assert len(page.evaluate("navigator.clipboard.readText()")) > 500_000


def test_a_server_that_is_gone_is_said(browser: Browser) -> None:
    """With what to do."""
    with playground() as own:
        page = browser.new_page()
        page.goto(own.address)
        expect(page.get_by_role("button", name="Log file")).to_be_visible()
    page.get_by_role("button", name="Log file").click()
    expect(status(page)).to_contain_text("Start it again: pillion playground")
    page.close()


def test_another_page_cannot_ask(browser: Browser, server: Playground) -> None:
    """Whatever it tries, the browser and the server refuse it; a link leads here all the same."""
    page = browser.new_page()
    page.route("http://localhost:1/", lambda route: route.fulfill(body="<p>another page", content_type="text/html"))
    page.goto("http://localhost:1/")
    script = """async address => {
        const json = {"Content-Type": "application/json"};
        const ask = options => fetch(address + "ask", {method: "POST", body: "{}", ...options});
        const tries = [
            ask({headers: json}),
            fetch(address + "setup.json"),
            ask({mode: "no-cors"}).then(({status}) => { if (status !== 200) throw 0; }),
        ];
        return (await Promise.allSettled(tries)).map(({status}) => status);
    }"""
    assert page.evaluate(script, server.address) == ["rejected"] * 3
    page.close()


# --- pictures ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not PICTURES, reason="make screenshots makes them")
@pytest.mark.parametrize(
    ("name", "size", "scheme", "example"),
    [
        ("light", (1360, 1470), "light", "Several containers"),
        ("dark", (1360, 1330), "dark", "Web page"),
        ("narrow", (390, 1180), "light", "Mistakes"),
    ],
)
def test_pictures(open_page: Open, name: str, size: tuple[int, int], scheme: str, example: str) -> None:
    """For the docs."""
    page = open_page(size=size, scheme=scheme)
    page.get_by_role("button", name=example, exact=True).click()
    expect(page.locator("#about")).to_be_visible()
    page.mouse.move(0, 0)
    page.screenshot(path=ROOT / f"docs/images/playground-{name}.png")
