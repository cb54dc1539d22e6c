"""The page in Chromium: it opens, filters, shows groups and their tokens, and tells of no error."""

import json
import threading
import urllib.error
import urllib.request

import pytest

from benchmarks.browser import browser, missing, open_report
from rl_reason.recipes.rollout_records import packed
from rl_reason.runtime.report import make_page
from rl_reason.runtime.report.folders import read_runs
from rl_reason.runtime.report.server import PageServer

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"no browser: {missing()}")

GROUP = 4
ATTACK = "<script>document.title = 'owned'</script></script><img src=x onerror=\"document.title='owned'\">"


@pytest.fixture(scope="module")
def chromium():
    with browser() as opened:
        yield opened


def write_samples(folder, steps=30):
    """Groups of four: of question q0 and q1 in turn, the second one right; completions of five tokens, one of them
    without a text of its own and an end."""
    records = []
    for step in range(1, steps + 1):
        for sample in range(GROUP):
            right = sample == 1
            text = f"😀 {ATTACK} {step}.{sample}"
            counts = [2, len(text) - 5, 0, 3, 0]
            records.append(
                {
                    "step": step, "id": f"q{step % 2}", "sample": sample, "prompt": f"question {step % 2}?",
                    "completion": text, "answer": f"<b>{step}</b>",
                    "rewards": {"accuracy": float(right), "format": 1.0},
                    "reward": right + 0.1, "verdict": "correct" if right else "wrong",
                    "advantage": 1.5 if right else -0.5, "tokens": 5 + step, "finish": "stop",
                    "token_characters": packed(counts, "<u2"),
                    "token_logprobs": packed([-0.25, -1, -2, -3, -4], "<f2"),
                }
            )  # fmt: skip
    (folder / "samples.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def write_page(file, *folders):
    file.write_text(make_page(read_runs(folders)), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def opened(chromium, run_maker, tmp_path_factory):
    """(page, its file) of a run of many samples, on which nothing may go wrong."""
    place = tmp_path_factory.mktemp("page")
    file = write_page(place / "page.html", write_samples(run_maker(place / "run", samples=0), steps=500))
    page, troubles = open_report(chromium, file)
    yield page, file
    assert not troubles


@pytest.fixture
def page(opened):
    """As it was when it was opened."""
    page, _ = opened
    page.click("text=reset")
    until(page, "at('found').textContent.startsWith('2,000 of')")
    page.evaluate("choose(0)")
    return page


def shown(page):
    return page.locator("#rows .row")


def until(page, condition):
    """Waits; the page's policy does not let playwright's own waiting in, which evaluates a text."""
    for _ in range(600):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"{condition}: {page.locator('#found').text_content()}")


def found(page, told):
    until(page, f"at('found').textContent.startsWith({json.dumps(told)})")


def test_opens_and_filters(chromium, opened, page):
    assert page.title() == "run"
    # Curves of what is in view, drawn by plotly.
    assert page.locator(".chart .main-svg").count() > 3
    # Until then it says that there is more to come.
    waiting = "document.querySelector('.plot:empty')"
    page.evaluate("addChart(document.querySelector('main'), 'late', '', () => 0).holder.id = 'late'")
    assert page.evaluate(f"getComputedStyle({waiting}, '::after').content") == '"drawing …"'
    page.evaluate("viewed.unobserve(at('late')), charts.delete(at('late').chart), at('late').remove()")
    assert page.locator("#found").text_content().startswith("2,000 of 2,000 samples · 25.0% right · mean reward 0.35")
    page.fill("[aria-label='step from']", "3")
    page.fill("[aria-label='step to']", "4")
    found(page, "8 of 2,000")
    page.select_option("[aria-label=right]", "1")
    found(page, "2 of 2,000")
    assert shown(page).count() == 2 and "100.0% right" in page.locator("#found").text_content()
    page.fill("#filters [type=search]", r"4\.\d$")
    found(page, "0 of 2,000")
    assert page.locator("#group .card").count() == 0
    page.check("#filters [type=checkbox]")
    found(page, "1 of 2,000")
    until(page, "at('group').textContent.includes('question 0?')")
    page.fill("#filters [type=search]", "(")
    until(page, "filters.text.classList.contains('invalid')")
    page.fill("#filters [type=search]", r"4\.\d$")
    found(page, "1 of 2,000")

    # What is looked at stands in the address: a page that is opened with it shows the same.
    again, troubles = open_report(chromium, opened[1], page.evaluate("location.hash"))
    assert again.locator("#found").text_content() == page.locator("#found").text_content()
    assert again.title() == "run" and not troubles
    again.close()


def test_a_long_table_is_drawn_in_part_and_sorted(page):
    assert 10 < shown(page).count() < 100
    page.evaluate("at('window').scrollTop = at('window').scrollHeight")
    until(page, "at('rows').textContent.includes(' 500.3')")
    page.click("#rows th:text('length')")
    assert shown(page).first.locator("td").first.text_content() == "500"
    page.click("#rows th:text('length')")
    assert shown(page).first.locator("td").first.text_content() == "1"
    # Keys go through it, and the group follows.
    page.evaluate("choose(table.found[0])")
    page.focus("#window")
    for _ in range(GROUP):
        page.keyboard.press("ArrowDown")
    until(page, "at('group').textContent.includes('step 2 ')")
    page.click("#rows th:text('length')")


def test_a_group_side_by_side_with_the_colours_of_its_tokens(page):
    # The first sample is chosen: its group stands beside each other, with what is known of tokens.
    until(page, "at('group').textContent.includes('question 1?')")
    assert page.locator("#group .card").count() == GROUP and page.locator(".card.on").count() == 1
    text = f"😀 {ATTACK} 1.0"
    first = page.locator(".card").first
    assert first.locator(".token").all_text_contents() == [text[:2], text[2:-3], "", text[-3:], "end"]
    assert "accuracy" in first.locator(".parts").text_content()
    colors = lambda: first.locator(".token").evaluate_all(  # noqa: E731
        "tokens => tokens.map(token => token.style.backgroundColor)"
    )
    # GRPO's advantage is that of the completion: one colour, and another one of the right completion.
    assert len(set(colors())) == 1 and "--minus" in colors()[0]
    assert "--plus" in page.locator(".card >> nth=1").locator(".token").first.get_attribute("style")
    page.select_option("#shade", "logprobs")
    strengths = [int(color.split("%")[0].split()[-1]) for color in colors()]
    assert strengths == sorted(strengths) and len(set(strengths)) == 5
    # −0.5 · (1 − π): the less probable, the more.
    page.select_option("#shade", "push")
    assert len(set(colors())) == 5
    first.locator(".token").first.hover()
    told = page.locator("#tip").text_content()
    assert '"😀 "' in told and "77.9%" in told and "-0.25" in told and "-0.5" in told
    assert page.locator("#shade option").all_text_contents() == [
        "advantage", "advantage · (1 − π)", "log-probability", "no colour"
    ]  # fmt: skip
    page.select_option("#shade", "advantage")


def test_the_same_question_in_other_steps(page):
    assert page.locator(".steps .chip").all_text_contents()[:3] == ["step 1: 1/4", "step 3: 1/4", "step 5: 1/4"]
    page.click("text=step 5: 1/4")
    until(page, "at('group').textContent.includes('step 5 ')")


def test_smoothing_and_other_axes(page):
    line = "document.querySelector('.chart .plot').data.find(line => line.hoverinfo !== 'skip')"
    page.evaluate("scrollTo(0, 0); at('smoothing').value = 0; at('smoothing').dispatchEvent(new Event('input'))")
    # reward/mean is step / 40 + 0.1, unsmoothed.
    until(page, f"Math.abs({line}.y[3] - 0.2) < 1e-9")
    page.select_option("#axis", "hours")
    # Four seconds a step.
    until(page, f"Math.abs({line}.x[39] - 40 * 4 / 3600) < 1e-9")
    page.locator("#more summary").click()
    page.fill("#more-search", "reward/std")
    until(page, "document.querySelectorAll('#more-charts .chart').length === 1")


def test_several_runs_in_the_dark(chromium, made_run, tmp_path):
    folders = [write_samples(made_run(samples=0)), write_samples(made_run(samples=0, name="other"), steps=5)]
    config = json.loads((folders[1] / "config.json").read_text())
    (folders[1] / "config.json").write_text(json.dumps(config | {"seed": 1}))
    page, troubles = open_report(chromium, write_page(tmp_path / "page.html", *folders), color_scheme="dark")
    assert page.locator("h1").text_content() == "Comparison"
    lines = "document.querySelector('.chart .plot').data.filter(line => line.hoverinfo !== 'skip').length"
    both = page.evaluate(lines)
    page.click("#legend .chip >> nth=1")
    assert page.evaluate(lines) == both / 2
    assert page.locator("#keys tr").all_text_contents() == ["keyrunother", "seed01"]
    page.select_option("[aria-label=run]", "1")
    found(page, "20 of 140")
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("#theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != back
    assert not troubles


def test_served_anew_when_the_run_goes_on(made_run):
    folder = made_run()
    server = PageServer([folder], 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        first = server.page()
        assert urllib.request.urlopen(server.address).read() == first == server.page()
        with open(folder / "metrics.jsonl", "a") as file:
            file.write(json.dumps({"step": 41, "a metric that is new": 1.0}) + "\n")
        assert b"a metric that is new" in urllib.request.urlopen(server.address).read()
        for wrong in (urllib.request.Request(server.address, headers={"Host": "evil.example"}), f"{server.address}x"):
            with pytest.raises(urllib.error.HTTPError):
                urllib.request.urlopen(wrong)
    finally:
        server.shutdown()
        server.server_close()
