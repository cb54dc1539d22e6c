"""Short requests without a number to find, in English and Chinese, and pairs of a good reply and a bad one.

Somebody is to be greeted, thanked, asked for something. A good reply is polite, in the language of the request, and
does what it asks for; a bad one is curt, in the other language, or does something else. What is right no rule decides:
of such replies a preference model learns.

A request belongs to the split of what it asks for (what, to whom, about which thing), in whatever words and language.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping

from rl_reason.data.bilingual import LANGUAGES, TOLD
from rl_reason.data.made import MadeRows
from rl_reason.data.solutions import bare, plain, worked
from rl_reason.data.word_problems import HELD_OUT
from rl_reason.errors import UsageError

SIZES = {"train": 20_000, "test": 500}
REPLIES = {"train": 1_000, "test": 500}
PAIRS = {"train": 4_000, "test": 500}
CURT_SHARE = 0.5
"""Of the replies that are examples."""

REQUESTS: dict[str, dict[str, tuple[str, ...]]] = {
    "greet": {
        "en": ("Say hello to {name}, who brings the {things}.", "Greet {name}, who has the {things}."),
        "zh": ("{name}带来了{things}，向{name}问好。", "向拿着{things}的{name}问好。"),
    },
    "thank": {
        "en": ("Thank {name} for the {things}.", "Tell {name} that you like the {things}."),
        "zh": ("感谢{name}送的{things}。", "告诉{name}你喜欢这些{things}。"),
    },
    "ask": {
        "en": ("Ask {name} for the {things}.", "You need the {things} of {name}. Ask for them."),
        "zh": ("向{name}要{things}。", "你需要{name}的{things}，问问看。"),
    },
    "offer": {
        "en": ("Offer {name} the {things}.", "Ask whether {name} wants the {things}."),
        "zh": ("请{name}收下{things}。", "问{name}要不要{things}。"),
    },
    "sorry": {
        "en": ("You lost the {things} of {name}. Say sorry.", "Tell {name} that you lost the {things}."),
        "zh": ("你丢了{name}的{things}，道个歉。", "告诉{name}你丢了{things}。"),
    },
    "goodbye": {
        "en": ("Say goodbye to {name}, who takes the {things}.", "{name} leaves with the {things}. Say goodbye."),
        "zh": ("{name}拿走{things}，向{name}告别。", "{name}带着{things}走了，说再见。"),
    },
}
POLITE = {
    "greet": {
        "en": "Hello {name}, how nice to see you and the {things}!",
        "zh": "你好{name}，很高兴见到你和这些{things}！",
    },
    "thank": {"en": "Thank you very much for the {things}, {name}!", "zh": "非常感谢你的{things}，{name}！"},
    "ask": {"en": "Could you please give me the {things}, {name}?", "zh": "{name}，请问你可以给我这些{things}吗？"},
    "offer": {"en": "Would you like to have the {things}, {name}?", "zh": "{name}，你想要这些{things}吗？"},
    "sorry": {"en": "I am so sorry about the {things}, {name}!", "zh": "{name}，真对不起，我丢了你的{things}！"},
    "goodbye": {"en": "Goodbye {name}, enjoy the {things}!", "zh": "再见{name}，祝你喜欢这些{things}！"},
}
CURT = {
    "greet": {"en": "Hi.", "zh": "嗨。"},
    "thank": {"en": "Thanks.", "zh": "谢了。"},
    "ask": {"en": "Give me that.", "zh": "给我。"},
    "offer": {"en": "Take it.", "zh": "拿着。"},
    "sorry": {"en": "So what.", "zh": "那又怎样。"},
    "goodbye": {"en": "Bye.", "zh": "走吧。"},
}
THOUGHTS = {"en": "A kind reply in English", "zh": "用中文好好回答"}
FAULTS = ("curt", "language", "off topic")
"""What is wrong with a bad reply."""
FORMS = (worked, bare, plain)
"""How both replies of a pair are written, so that the form does not tell them apart."""


def make_request(split: str, index: int, seed: int) -> dict:
    """Request number `index` of a split.

    Returns:
        `id`, `problem`, `answer` (a good reply), `curt` (one that is not), `language`, `solution` and `told` (a thought
        before the reply), `kind` ("general"), `topic`, `about` (the places of the name and of the thing in the lists of
        `data.bilingual`) and `source`.
    """
    place = f"{split}/{seed}/{index}"
    rng = random.Random(f"requests/{place}")
    topic, name, thing = _draw(split, rng)
    language = rng.choice(LANGUAGES)
    return {
        "id": f"requests/{place}",
        "problem": rng.choice(REQUESTS[topic][language]).format(**_words(language, name, thing)),
        "answer": _polite(topic, language, name, thing),
        "curt": CURT[topic][language],
        "language": language,
        "solution": THOUGHTS[language],
        "told": {code: [thought] for code, thought in THOUGHTS.items()},
        "kind": "general",
        "topic": topic,
        "about": [name, thing],
        "source": "requests",
    }


def _draw(split: str, rng: random.Random) -> tuple[str, int, int]:
    """A topic, and the places of a name and of a thing in their lists, that belong to the split."""
    while True:
        made = (
            rng.choice(list(REQUESTS)),
            rng.randrange(len(TOLD["en"].names)),
            rng.randrange(len(TOLD["en"].things)),
        )
        held_out = int.from_bytes(hashlib.sha256(repr(made).encode()).digest()[:4]) % HELD_OUT == 0
        if held_out == (split == "test"):
            return made


def _words(language: str, name: int, thing: int) -> dict[str, str]:
    return {"name": TOLD[language].names[name], "things": TOLD[language].things[thing][0]}


def _polite(topic: str, language: str, name: int, thing: int) -> str:
    return POLITE[topic][language].format(**_words(language, name, thing))


def requests(split: str, dir: str, seed: int) -> MadeRows:
    """The data source: `split` is "train" or "test"; the test split is the same for every seed; `dir` is not used."""
    if split not in SIZES:
        raise UsageError(f"config.data.split={split!r}: requests has {', '.join(SIZES)}")
    made_from = 0 if split == "test" else seed
    return MadeRows(SIZES[split], lambda index: make_request(split, index, made_from))


def make_pair(split: str, index: int, seed: int) -> dict:
    """Pair number `index` of a split: `problem`, `chosen` and `rejected`, two replies of the same form of which one is
    good, and the `fault` of the other (`FAULTS`)."""
    request = make_request(split, index, seed)
    rng = random.Random(f"{request['id']}/pair")
    fault, write = rng.choice(FAULTS), rng.choice(FORMS)
    bad = _with_fault(request, fault, rng)
    return {
        "id": f"{request['id']}/pair",
        "problem": request["problem"],
        "chosen": write(request | {"curt": request["answer"]}),
        "rejected": write(request | {"answer": bad, "curt": bad}),
        "language": request["language"],
        "fault": fault,
    }


def _with_fault(request: Mapping, fault: str, rng: random.Random) -> str:
    if fault == "curt":
        return request["curt"]
    language = request["language"]
    if fault == "language":
        other = next(code for code in LANGUAGES if code != language)
        return _polite(request["topic"], other, *request["about"])
    topic = rng.choice([topic for topic in POLITE if topic != request["topic"]])
    return _polite(topic, language, *request["about"])


def replies(split: str, dir: str, seed: int) -> MadeRows:
    """A few requests whose `solution` is all of a completion, thought and reply, as people write them: half of them are
    curt. Examples that stand beside completions that were selected."""
    asked = requests(split, dir, seed)

    def make(index: int) -> dict:
        request = asked[index]
        is_curt = random.Random(f"{request['id']}/reply").random() < CURT_SHARE
        return {**request, "solution": worked(request | {"answer": request["curt"]} if is_curt else request)}

    return MadeRows(REPLIES[split], make)


def request_pairs(split: str, dir: str, seed: int) -> MadeRows:
    """Pairs for a preference model (`data.labelled`), of the requests of the split."""
    if split not in PAIRS:
        raise UsageError(f"config.data.split={split!r}: request_pairs has {', '.join(PAIRS)}")
    made_from = 0 if split == "test" else seed
    return MadeRows(PAIRS[split], lambda index: make_pair(split, index, made_from))
