"""Words by their script, and what is not a word."""

import pytest

from rl_reason.rewards import language
from rl_reason.rewards.language import mixes

EN, ZH = "How many apples are left?", "还剩多少个苹果？"


@pytest.mark.parametrize("text, problem, share", [
    ("We add three and four", {"problem": EN}, 1.0),
    ("We add three and four", {"problem": ZH}, 0.0),
    ("我们把三和四加起来", {"problem": ZH}, 1.0),
    ("我们 add", {"problem": ZH}, 2 / 3),
    ("我们 add", {"problem": EN}, 1 / 3),
    ("我们 add", {"problem": EN, "language": "zh"}, 2 / 3),
    ("We add", {"problem": ZH, "language": "en-US"}, 1.0),
    ("Wir addieren", {"problem": EN, "language": "de"}, 1.0),
    ("Мы add 三", {"language": "ru"}, 1 / 3),
    ("りんごは三つです", {"language": "ja"}, 1.0),
    ("りんごは三つです", {"problem": "りんごは何個ですか"}, 1.0),
    ("りんごは三つです", {"language": "zh"}, 1 / 8),
    ("사과가 세 개", {"problem": "사과가 몇 개 남았습니까?"}, 1.0),
    ("don't well-known naïve", {"language": "en"}, 1.0),
    # Neither question nor language: the language of most of the text.
    ("We add 三", {}, 2 / 3),
    ("We add 三", {"problem": "3+4="}, 2 / 3),
    # What is not a word.
    ("设 x 为苹果的数 n", {"problem": ZH}, 1.0),
    ("<think>我们</think><answer>二</answer>", {"problem": ZH}, 1.0),
    ("我们 $sin(alpha) = beta$ \\(cos\\) \\[\\text{hello there}\\] $$speed\ntimes$$", {"problem": ZH}, 1.0),
    ("我们 `print(hello)` \n```python\nfor item in things: print(item)\n```", {"problem": ZH}, 1.0),
    ("我们得 \\boxed{\\frac{12}{30}}", {"problem": ZH}, 1.0),
    ("It costs $5 more\nthan 五", {"language": "en"}, 4 / 5),  # A dollar that nothing closes on its line.
    ("```\nstill open 我们", {"language": "en"}, 2 / 4),
    # Texts without words.
    ("", {"problem": EN}, 0.0),
    ("12+30=42", {"problem": EN}, 0.0),
    ("$x = y$ <think></think>", {"problem": EN}, 0.0),
    ("١٨ １８ ²", {"problem": EN}, 0.0),
    ("\x00\ud800 😀", {"problem": EN}, 0.0),
])
def test_share(text, problem, share):
    assert language(text, problem) == pytest.approx(share)


@pytest.mark.parametrize("code", ["", "xx", "English", 7, ["en"]])
def test_unknown_language(code):
    for call in (language.check_gold, lambda problem: language("text", problem)):
        with pytest.raises(ValueError, match="language="):
            call({"language": code, "problem": EN})
    language.check_gold({"problem": EN})


@pytest.mark.parametrize("text, problem, expected", [
    ("We add three and four", {"language": "en"}, False),
    ("We add three and four", {"language": "zh"}, True),
    ("<think>现在多了：3+4=7</think><answer>7</answer>", {"language": "zh"}, False),
    ("<think>现在多了：3+4=7\nMore now: 7+1=8</think>", {"language": "zh"}, True),
    ("现在多了" * 10 + "Anna", {"language": "zh"}, False),  # A name among forty words.
    ("<think>3+4=7</think><answer>7</answer>", {"language": "zh"}, None),
    ("", {"language": "en"}, None),
    # Nothing says in which language it shall be; or the field means something else.
    ("We add three", {"problem": EN}, None),
    ("We add three", {"language": "python"}, None),
])
def test_what_mixes(text, problem, expected):
    assert mixes(text, problem) is expected
