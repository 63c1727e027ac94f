"""The questions about a scene, in English and Traditional Chinese, and the one correct answer to each.

This file has the canonical wording of each kind of question; phrasings.py has others, for training. "describe" is an
exception: its canonical answer is two or three sentences that end with the mood, but other answers are true, too.
"""

import random

NUMBERS_EN = ("no", "one", "two", "three", "four")
NUMBERS_ZH = ("", "一", "兩", "三", "四")
COLOURS = {"red": "紅色", "yellow": "黃色", "green": "綠色", "blue": "藍色", "purple": "紫色", "white": "白色"}
TIMES = {"day": ("daytime", "白天"), "sunset": ("sunset", "傍晚"), "night": ("night", "夜晚")}
SEASONS = {"spring": "春天", "summer": "夏天", "autumn": "秋天", "winter": "冬天"}
WEATHERS = {"clear": ("clear", "天氣晴朗", "晴朗"), "cloudy": ("cloudy", "天氣多雲", "多雲"),
            "rainy": ("raining", "正在下雨", "下雨"), "snowy": ("snowing", "正在下雪", "下雪")}
NAMES = {  # the Chinese name and its measure word
    "house": ("房子", "棟"), "castle": ("城堡", "座"), "lighthouse": ("燈塔", "座"), "windmill": ("風車", "座"),
    "tent": ("帳篷", "頂"), "tower": ("高樓", "棟"),
    "cat": ("貓", "隻"), "dog": ("狗", "隻"), "horse": ("馬", "匹"), "sheep": ("羊", "隻"), "duck": ("鴨子", "隻"),
    "rabbit": ("兔子", "隻"),
    "car": ("汽車", "輛"), "bus": ("公車", "輛"), "truck": ("卡車", "輛"), "bicycle": ("腳踏車", "輛"),
    "boat": ("船", "艘"),
    "balloon": ("熱氣球", "顆"), "airplane": ("飛機", "架"), "bird": ("鳥", "隻"), "kite": ("風箏", "個"),
    "sun": ("太陽", "個"), "moon": ("月亮", "個"), "clouds": ("雲", "朵"),
}
GROUPS = {
    "building": ("house", "castle", "lighthouse", "windmill", "tent", "tower"),
    "animal": ("cat", "dog", "horse", "sheep", "duck", "rabbit"),
    "vehicle": ("car", "bus", "truck", "bicycle", "boat"),
    "flying": ("balloon", "airplane", "bird", "kite"),
}
MOODS = {
    "solitude": ("tranquility and solitude", "寧靜與孤獨"),
    "gloom": ("gloom and melancholy", "陰鬱與憂傷"),
    "joy": ("joy and liveliness", "歡樂與活力"),
    "wonder": ("wonder and stillness", "驚奇與靜謐"),
    "mystery": ("mystery and calm", "神秘與沉靜"),
    "warmth": ("warmth and peace", "溫暖與平和"),
    "comfort": ("comfort and contentment", "舒適與滿足"),
}
KINDS = ("time", "weather", "season", "sky", "building", "building colour", "trees", "animal", "animal count",
         "animal side", "vehicle", "vehicle colour", "vehicle side", "people", "clothes", "flying", "above", "flying side", "mood",
         "is there", "is it", "describe")


def mood(facts):
    """The first rule that holds decides, so the mood follows from what is visible."""
    if not (facts["person"] or facts["animal"] or facts["vehicle"]):
        return "solitude"
    if facts["weather"] == "rainy":
        return "gloom"
    if facts["person"] and facts["person"]["count"] >= 2 and facts["time"] != "night":
        return "joy"
    if facts["weather"] == "snowy":
        return "wonder"
    return {"night": "mystery", "sunset": "warmth", "day": "comfort"}[facts["time"]]


def a(name):
    return ("an " if name[0] in "aeiou" else "a ") + name


def one(name):
    zh, measure = NAMES[name]
    return "一" + measure + zh


def plural(name):
    return name if name in ("sheep", "clouds") else name + "s"


def count_en(number, single, several):
    return f"There is one {single}." if number == 1 else f"There are {NUMBERS_EN[number]} {several}."


def count_zh(number, thing, measure):
    return f"有{NUMBERS_ZH[number]}{measure}{thing}。" if number else f"沒有{thing}。"


def in_sky(facts):
    return "clouds" if facts["weather"] != "clear" else "moon" if facts["time"] == "night" else "sun"


def items(facts):
    """The contents of a description: English and Chinese phrases, all of them true."""
    out = []
    for thing in ("building", "vehicle"):
        if facts[thing]:
            kind, colour = facts[thing]["kind"], facts[thing]["colour"]
            out.append((f"a {colour} {kind}", f"{COLOURS[colour]}的{NAMES[kind][0]}"))
    if facts["trees"]:
        n = facts["trees"]
        out.append((NUMBERS_EN[n] + (" tree" if n == 1 else " trees"), NUMBERS_ZH[n] + "棵樹"))
    if facts["person"]:
        n = facts["person"]["count"]
        out.append((NUMBERS_EN[n] + (" person" if n == 1 else " people"), NUMBERS_ZH[n] + "個人"))
    if facts["animal"]:
        n, kind = facts["animal"]["count"], facts["animal"]["kind"]
        zh, measure = NAMES[kind]
        out.append((NUMBERS_EN[n] + " " + (kind if n == 1 else plural(kind)), NUMBERS_ZH[n] + measure + zh))
    if facts["flying"]:
        out.append((a(facts["flying"]["kind"]), NAMES[facts["flying"]["kind"]][0]))
    return out


def describe(facts):
    """The canonical description, English and Chinese, sentence by sentence."""
    time = {"day": ("day", "白天"), "sunset": ("sunset", "傍晚"), "night": ("night", "夜晚")}[facts["time"]]
    en = [f"It is a {facts['weather']} {facts['season']} {time[0]}."]
    zh = [f"這是一個{WEATHERS[facts['weather']][2]}的{SEASONS[facts['season']]}{time[1]}。"]
    things = items(facts)
    if things:
        join = lambda parts, comma, last: comma.join(parts[:-1]) + (last if len(parts) > 1 else "") + parts[-1]
        en.append("There is " + join([e for e, _ in things], ", ", " and ") + ".")
        zh.append("圖中有" + join([z for _, z in things], "、", "和") + "。")
    feeling = MOODS[mood(facts)]
    return en + [f"The mood is {feeling[0]}."], zh + [f"氣氛是{feeling[1]}。"]


def true_description(facts, text):
    """Whether text is one to three sentences, each true of the facts, the last one about the mood.

    The list of things may be incomplete and in any order; naming an absent thing makes it untrue.
    """
    text = text.strip()
    chinese = "。" in text
    mark = "。" if chinese else "."
    if not text.endswith(mark):
        return False
    sentences = [part.strip() + mark for part in text[:-1].split(mark)]
    true = describe(facts)[chinese]
    listed = {phrase[chinese] for phrase in items(facts)}
    if not 1 <= len(sentences) <= 3 or sentences[-1] != true[-1]:
        return False
    for sentence in sentences[:-1]:
        start = "圖中有" if chinese else "There is "
        if sentence.startswith(start):
            body = sentence[len(start):-1].replace("和", "、") if chinese else sentence[len(start):-1].replace(" and ", ", ")
            parts = body.split("、" if chinese else ", ")
            if len(set(parts)) != len(parts) or not set(parts) <= listed:
                return False
        elif sentence != true[0]:
            return False
    return True


def ask(facts, r):
    """Every question that applies: (kind, slots, (English question, answer), (Chinese question, answer)).

    Slots are the names in the question, for the other wordings of phrasings.py. r chooses the content of yes-no questions.
    """
    building, animal, vehicle, person, flying = (facts[k] for k in ("building", "animal", "vehicle", "person", "flying"))
    zh = lambda name: NAMES[name][0]
    out = []
    add = lambda kind, slots, en, cn: out.append((kind, slots, en, cn))
    time, weather, season = TIMES[facts["time"]], WEATHERS[facts["weather"]], facts["season"]
    add("time", (), ("What time of day is it?", f"It is {time[0]}."), ("現在是什麼時候？", f"現在是{time[1]}。"))
    add("weather", (), ("What is the weather like?", f"It is {weather[0]}."), ("天氣怎麼樣？", f"{weather[1]}。"))
    add("season", (), ("What season is it?", f"It is {season}."), ("現在是什麼季節？", f"現在是{SEASONS[season]}。"))
    sky = in_sky(facts)
    name = "Clouds" if sky == "clouds" else f"The {sky}"
    answer = (f"{name} and {a(flying['kind'])} are in the sky.", f"天空中有{zh(sky)}和{zh(flying['kind'])}。") if flying \
        else (f"{name} {'are' if sky == 'clouds' else 'is'} in the sky.", f"天空中有{zh(sky)}。")
    add("sky", (), ("What is in the sky?", answer[0]), ("天空中有什麼？", answer[1]))
    add("building", (), ("What building is there?", f"There is {a(building['kind'])}." if building else "There is no building."),
        ("有什麼建築物？", f"有{one(building['kind'])}。" if building else "沒有建築物。"))
    n = facts["trees"]
    add("trees", (), ("How many trees are there?", count_en(n, "tree", "trees")), ("有幾棵樹？", count_zh(n, "樹", "棵")))
    n = animal["count"] if animal else 0
    kind = animal["kind"] if animal else None
    add("animal", (), ("What animals are there?", count_en(n, kind, plural(kind)) if n else "There are no animals."),
        ("有什麼動物？", count_zh(n, *NAMES[kind]) if n else "沒有動物。"))
    add("animal count", (), ("How many animals are there?", count_en(n, "animal", "animals")),
        ("有幾隻動物？", count_zh(n, "動物", "隻")))
    if animal and "side" in animal:
        x, y, side = kind, building["kind"], animal["side"]
        add("animal side", (x, y), (f"Where is the {x}?", f"The {x} is to the {side} of the {y}."),
            (f"{zh(x)}在哪裡？", f"{zh(x)}在{zh(y)}的{'左' if side == 'left' else '右'}邊。"))
    add("vehicle", (), ("What vehicle is there?", f"There is {a(vehicle['kind'])}." if vehicle else "There is no vehicle."),
        ("有什麼交通工具？", f"有{one(vehicle['kind'])}。" if vehicle else "沒有交通工具。"))
    for thing, name in ((building, "building"), (vehicle, "vehicle")):
        if thing:
            x = thing["kind"]
            add(name + " colour", (x,), (f"What colour is the {x}?", f"The {x} is {thing['colour']}."),
                (f"{zh(x)}是什麼顏色？", f"{zh(x)}是{COLOURS[thing['colour']]}的。"))
    if vehicle:
        x, side = vehicle["kind"], vehicle["side"]
        add("vehicle side", (x,), (f"Is the {x} on the left or on the right?", f"The {x} is on the {side}."),
            (f"{zh(x)}在左邊還是右邊？", f"{zh(x)}在{'左' if side == 'left' else '右'}邊。"))
    n = person["count"] if person else 0
    add("people", (), ("How many people are there?", count_en(n, "person", "people")), ("有幾個人？", count_zh(n, "人", "個")))
    if n == 1:
        add("clothes", (), ("What colour are the clothes?", f"The clothes are {person['colour']}."),
            ("衣服是什麼顏色？", f"衣服是{COLOURS[person['colour']]}的。"))
    x = flying["kind"] if flying else None
    add("flying", (), ("What is flying?", f"{a(x).capitalize()} is flying." if flying else "Nothing is flying."),
        ("什麼東西在飛？", f"{zh(x)}在飛。" if flying else "沒有東西在飛。"))
    if flying and building:
        y, up = building["kind"], flying["above"]
        add("above", (x, y), (f"Is the {x} above the {y}?",
                              f"Yes, the {x} is above the {y}." if up else f"No, the {x} is not above the {y}."),
            (f"{zh(x)}在{zh(y)}的上方嗎？",
             f"是的，{zh(x)}在{zh(y)}的上方。" if up else f"不，{zh(x)}不在{zh(y)}的上方。"))
        where = "above" if up else f"to the {flying['side']} of"
        add("flying side", (x, y), (f"Where is the {x}?", f"The {x} is {where} the {y}."),
            (f"{zh(x)}在哪裡？", f"{zh(x)}在{zh(y)}的{dict(above='上方', left='左邊', right='右邊')[flying['side']]}。"))
    feeling = MOODS[mood(facts)]
    add("mood", (), ("What is the mood of this picture?", f"The mood is {feeling[0]}."),
        ("這張圖片的氣氛如何？", f"氣氛是{feeling[1]}。"))
    group = r.choice(list(GROUPS))
    x = facts[group]["kind"] if facts[group] and r.random() < 0.5 else r.choice(GROUPS[group])
    if facts[group] and facts[group]["kind"] == x:
        add("is there", (x,), (f"Is there {a(x)}?", f"Yes, there is {a(x)}."), (f"有{zh(x)}嗎？", f"有，有{zh(x)}。"))
    else:
        add("is there", (x,), (f"Is there {a(x)}?", f"No, there is no {x}."), (f"有{zh(x)}嗎？", f"沒有，沒有{zh(x)}。"))
    what = r.choice(("time", "season", "weather"))
    true, false = facts[what], {"time": TIMES, "season": SEASONS, "weather": WEATHERS}[what]
    x = true if r.random() < 0.5 else r.choice(list(false))
    yes = x == true
    en = {"time": TIMES.get(x, "?")[0], "season": x, "weather": WEATHERS.get(x, "?")[0]}[what]
    if what == "weather":
        cn = WEATHERS[x][1]
        no = {"正在下雨": "沒有下雨", "正在下雪": "沒有下雪", "天氣晴朗": "天氣不晴朗", "天氣多雲": "天氣不多雲"}[cn]
    else:
        cn = "現在是" + (TIMES[x][1] if what == "time" else SEASONS[x])
        no = cn.replace("是", "不是")
    # Rain and snow fall from clouds: whether such a sky counts as "cloudy" is debatable, so it is not asked.
    if not (x == "cloudy" and true in ("rainy", "snowy")):
        add("is it", (en, cn), (f"Is it {en}?", f"Yes, it is {en}." if yes else f"No, it is not {en}."),
            (f"{cn}嗎？", f"是的，{cn}。" if yes else f"不，{no}。"))
    en, cn = describe(facts)
    add("describe", (), ("Describe this picture.", " ".join(en)), ("描述這張圖片。", "".join(cn)))
    return out


def questions(facts, seed):
    """The list in a scene's JSON: canonical wordings in both languages, each with its one correct answer."""
    return _both(item for item in ask(facts, random.Random(seed + 0x11A4)) if item[0] != "describe")


def descriptions(facts):
    """The request for a description, with the canonical one; any text that true_description accepts is correct."""
    return _both(item for item in ask(facts, random.Random(0)) if item[0] == "describe")


def _both(asked):
    return [{"lang": lang, "kind": kind, "question": question, "answer": answer}
            for kind, _, en, zh in asked for lang, (question, answer) in (("en", en), ("zh-Hant", zh))]
