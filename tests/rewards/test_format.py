import pytest

from rl_reason.rewards import format_reward


@pytest.mark.parametrize("text, expected", [
    ("<think>a</think><answer>b</answer>", 1.0),
    ("\n <think>\na\nb</think>\n\n<answer> b </answer>\n", 1.0),
    ("<think></think><answer>b</answer>", 1.0),
    ("<think>a</think><answer> </answer>", 0.0),
    ("a<think>a</think><answer>b</answer>", 0.0),
    ("<think>a</think> so <answer>b</answer>", 0.0),
    ("<think>a</think><answer>b</answer> and more", 0.0),
    ("<think>a</think><answer>b</answer><answer>b</answer>", 0.0),
    ("<think>a<think>b</think><answer>b</answer>", 0.0),
    ("<answer>b</answer><think>a</think>", 0.0),
    ("<think>a<answer>b</answer></think>", 0.0),
    ("<think>a</think><answer>b", 0.0),
    ("", 0.0),
])
def test_format(text, expected):
    assert format_reward(text, {}) == expected
