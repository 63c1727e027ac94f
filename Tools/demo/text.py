"""The tokenizer and the chat template of limn-demo, and questions as token ids."""

import json
import os
import random

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

import questions as q
from phrasings import EN, TALK, ZH

SPECIAL = ["<unk>", "<s>", "</s>", "<pad>", "<image>"]
UNK, BOS, EOS, PAD, IMAGE = range(5)
PATCHES = 100

SHIPPED = os.path.join(os.path.dirname(__file__), "../../Sources/Limn/Resources/limn-demo/tokenizer.json")

TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ 'USER: ' }}"
    "{% elif message['role'] == 'assistant' %}{{ 'ASSISTANT: ' }}{% endif %}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<image>\\n' }}{% endif %}{% endfor %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{% endif %}"
    "{% if message['role'] == 'assistant' %}{{ '</s>' }}{% else %}{{ ' ' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)

# Chinese words that become one token; all others are spelt character by character.
WORDS = ("什麼", "怎麼樣", "如何", "現在", "天氣", "季節", "時候", "天空", "建築物", "動物", "交通工具", "顏色", "左邊", "右邊",
         "哪裡", "還是", "衣服", "東西", "上方", "氣氛", "這張圖片", "描述", "正在", "沒有", "圖中", "圖片", "這是", "一個", "白天",
         "傍晚", "夜晚", "多少", "看到", "是的", "不是", "這個")


def pieces():
    """The words that the tokenizer learns, each repeated by its importance."""
    names = [zh for zh, _ in q.NAMES.values()] + list(q.COLOURS.values()) + list(q.SEASONS.values())
    moods = [half for _, zh in q.MOODS.values() for half in zh.split("與")]
    words = set(WORDS) | {w for w in names if len(w) > 1} | set(moods) | {"晴朗", "多雲", "下雨", "下雪"}
    facts = {"time": "night", "weather": "snowy", "season": "winter", "building": {"kind": "house", "colour": "red"},
             "trees": 4, "animal": {"kind": "cat", "count": 1, "side": "left"}, "person": {"count": 1, "colour": "red"},
             "vehicle": {"kind": "car", "colour": "red", "side": "left"}, "flying": {"kind": "kite", "above": True, "side": "above"}}
    english, chinese = [], []
    for _, _, en, zh in q.ask(facts, random.Random(0)):
        english += en
        chinese += zh
    for table, out in ((EN, english), (ZH, chinese)):
        for wordings in table.values():
            out += [w.replace("{0}", "").replace("{1}", "") for w in wordings]
    for asked, answer in TALK:
        for line in (*asked, answer):
            (english if line.isascii() else chinese).append(line)
    english += [w for w in (*q.NAMES, *map(q.plural, q.NAMES), *q.COLOURS, *q.NUMBERS_EN, "and", "people", "tree", "USER",
                            "ASSISTANT", "No", "Yes", *q.SEASONS, "clear", "cloudy", "rainy", "snowy", "raining", "day",
                            "snowing", "daytime", "sunset", "night", "A", "An", "Clouds", "airplane", "persons")]
    english += [a for en, _ in q.MOODS.values() for a in [en]]
    seen = set()
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    for line in english:
        for text in (line, " " + line, line.lower(), " " + line.lower()):
            seen |= {word for word, _ in split.pre_tokenize_str(text)}
    out = sorted(seen) * 20
    decode = {v: k for k, v in zip(*_byte_table())}
    out = [bytes(decode[c] for c in word).decode() for word in out]
    characters = {c for line in chinese for c in line if not c.isascii()} | {c for w in words for c in w}
    characters |= {c for _, zh in q.MOODS.values() for c in zh} | set("零二五六七八九十百千，。？！：；「」、們")
    return out + sorted(characters) * 60 + sorted(words) * 20


def _byte_table():
    """GPT-2's bytes as characters."""
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in keep]
    return keep + others, [chr(b) for b in keep] + [chr(256 + i) for i in range(len(others))]


def build():
    """The shipped model's tokenizer, so that adding wordings does not renumber ids; if it is missing, a new one."""
    if os.path.exists(SHIPPED):
        return Tokenizer.from_file(SHIPPED)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=5000, min_frequency=15, special_tokens=SPECIAL, show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(pieces(), trainer)
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", BOS)])
    return tokenizer


if __name__ == "__main__":
    t = build()
    print(t.get_vocab_size())
    for line in ("USER: ", "\nWhat time of day is it? ASSISTANT: It is night.", " 這張圖片的氣氛如何？ ASSISTANT: 氣氛是寧靜與孤獨。",
                 "現在是什麼時候？", "What's the wether, 龘?", " Yes, the balloon is above the lighthouse."):
        e = t.encode(line, add_special_tokens=False)
        print(len(e.ids), [t.decode([i]) for i in e.ids], t.decode(e.ids) == line)
