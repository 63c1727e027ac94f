#!/usr/bin/env python3
"""One seed, one scene: a picture, its facts, and questions with their answers.

    python3 Tools/demo/scene.py --seed 1000000 --png scene.png --json scene.json

Seeds below 1,000,000 are for training and tuning; 1,000,000 and above are never trained on.
The facts are chosen first, then the picture is laid out so that every fact is clearly visible: rows that do
not hide each other (sky, buildings and trees, people and animals, road), clear sides, counts up to four.
"""

import argparse
import json
import random

import numpy as np
from PIL import Image

import drawing
from drawing import ANIMALS, BUILDINGS, COLOURS, FLYING, GLASS_DAY, GLASS_NIGHT, VEHICLES, Pen
from questions import descriptions, mood, questions

TIMES = ("day", "sunset", "night")
SEASONS = ("spring", "summer", "autumn", "winter")
WEATHERS = ("clear", "cloudy", "rainy")

# Colours of the sky's upper and lower edge.
SKY = {
    ("day", "clear"): ((80, 155, 235), (165, 210, 248)),
    ("day", "cloudy"): ((150, 170, 190), (190, 202, 212)),
    ("day", "rainy"): ((98, 110, 128), (135, 146, 160)),
    ("day", "snowy"): ((135, 152, 175), (165, 180, 200)),
    ("sunset", "clear"): ((225, 110, 95), (255, 190, 100)),
    ("sunset", "cloudy"): ((205, 115, 95), (235, 160, 110)),
    ("sunset", "rainy"): ((150, 80, 72), (190, 112, 88)),
    ("sunset", "snowy"): ((190, 105, 100), (225, 145, 115)),
    ("night", "clear"): ((10, 14, 48), (26, 34, 82)),
    ("night", "cloudy"): ((22, 26, 48), (38, 42, 70)),
    ("night", "rainy"): ((14, 18, 34), (28, 34, 54)),
    ("night", "snowy"): ((24, 30, 62), (44, 50, 92)),
}
CLOUD = {"day": (246, 246, 250), "sunset": (255, 215, 190), "night": (98, 102, 124)}
RAIN_CLOUD = {"day": (74, 78, 90), "sunset": (100, 62, 64), "night": (62, 66, 82)}
GROUND = {"spring": (140, 208, 90), "summer": (58, 150, 58), "autumn": (206, 152, 66), "winter": (238, 242, 250)}
FOLIAGE = {"spring": (248, 165, 200), "summer": (24, 105, 42), "autumn": (218, 88, 24), "winter": None}
PINE = (18, 98, 78)
LIGHT = {"day": (1.0, 1.0), "sunset": (0.84, 0.95), "night": (0.6, 0.84)}  # ground, things
SHAPES = ((240, 240), (240, 240), (240, 192), (240, 180), (200, 240))  # units of 1/240 of the longest side


def choose(r, width):
    """The facts that a picture shows. Rare things are made frequent enough to be learnt."""
    season = r.choice(SEASONS)
    weather = "snowy" if season == "winter" and r.random() < 0.5 else r.choice(WEATHERS)
    facts = {"time": r.choice(TIMES), "weather": weather, "season": season,
             "building": None, "animal": None, "vehicle": None, "person": None, "flying": None}
    quiet = r.random() < 0.12  # nobody there, so that the lonely mood is not rare
    if r.random() < 0.9:
        facts["building"] = {"kind": r.choice(list(BUILDINGS)), "colour": r.choice(list(COLOURS))}
    facts["trees"] = r.randint(0, 4)
    animals, people = r.choice((0, 1, 1, 2, 3)), r.choice((0, 1, 1, 2, 3))
    while 26 * people + 47 * animals > width - 12:
        animals -= 1
    if animals and not quiet:
        facts["animal"] = {"kind": r.choice(list(ANIMALS)), "count": animals}
    if people and not quiet:
        facts["person"] = {"count": people}
        if people == 1:
            facts["person"]["colour"] = r.choice(list(COLOURS))
    if r.random() < 0.8 and not quiet:
        facts["vehicle"] = {"kind": r.choice(list(VEHICLES)), "colour": r.choice(list(COLOURS)),
                            "side": r.choice(("left", "right"))}
    if r.random() < 0.65:
        facts["flying"] = {"kind": r.choice(list(FLYING))}
        if facts["building"]:
            facts["flying"]["above"] = r.random() < 0.5
    return facts


def row(r, width, items):
    """Puts (name, width) side by side in a random order with random gaps; returns [(name, x of the middle)]."""
    items = r.sample(items, len(items))
    free = max(0, width - 8 - sum(wide for _, wide in items))
    cuts = sorted(r.uniform(0, free) for _ in items)
    out, used = [], 4.0
    for (name, wide), cut in zip(items, cuts):
        out.append((name, used + cut + wide / 2))
        used += wide
    return out


def layout(r, facts, width):
    """Where things stand: the x of each, following the rules that keep sides and "above" unambiguous."""
    while True:
        back = row(r, width, [("tree", 29)] * facts["trees"] + [("building", 66)] * bool(facts["building"]))
        house = next((x for name, x in back if name == "building"), None)
        if house is None or 60 <= house <= width - 60:
            break
    animal, person, flying = facts["animal"], facts["person"], facts["flying"]
    while True:
        middle = row(r, width, [("animal", 47)] * (animal["count"] if animal else 0)
                     + [("person", 26)] * (person["count"] if person else 0))
        alone = [x for name, x in middle if name == "animal"]
        if house is None or len(alone) != 1:
            break
        if abs(alone[0] - house) >= 38:
            animal["side"] = "left" if alone[0] < house else "right"
            break
    fly = None
    while flying:
        fly = r.uniform(24, width - 24)
        if "above" not in flying:
            break
        if flying["above"]:
            fly = house + r.uniform(-7, 7)
            flying["side"] = "above"
            break
        if abs(fly - house) >= 58:
            flying["side"] = "left" if fly < house else "right"
            break
    return back, middle, fly


def paint(r, facts, width, height):
    """The picture at two pixels per unit, and the things in it as (class, x0, y0, x1, y1, colour) in units."""
    time, weather, season = facts["time"], facts["weather"], facts["season"]
    k, things = 2, []
    back, middle, fly = layout(r, facts, width)
    jitter = lambda colour, by=10: tuple(max(0, min(255, c + r.randint(-by, by))) for c in colour)
    horizon = int(height * r.uniform(0.50, 0.53))
    top, low = (np.array(jitter(c), float) for c in SKY[time, weather])
    t = np.clip(np.arange(height * k) / (horizon * k), 0, 1)[:, None]
    image = Image.fromarray(np.repeat((top + (low - top) * t).astype(np.uint8)[:, None], width * k, axis=1))
    ground_light, light = LIGHT[time]
    p = Pen(image, k)

    # the sky: sun, moon and stars, clouds
    body = r.uniform(20, width - 20)
    while fly is not None and abs(body - fly) < 40:
        body = r.uniform(20, width - 20)
    y, size = r.uniform(18, 30), r.uniform(11, 14)
    if weather == "clear":
        if time == "night":
            for _ in range(r.randint(18, 30)):
                a, b = r.uniform(2, width - 2), r.uniform(2, horizon - 12)
                p.oval(a - 1, b - 1, a + 1, b + 1, (250, 250, 215))
            p.oval(body - size, y - size, body + size, y + size, (245, 240, 205))
        else:
            p.oval(body - size, y - size, body + size, y + size, (255, 240, 90) if time == "day" else (255, 95, 40))
        things.append(("moon" if time == "night" else "sun", body - size, y - size, body + size, y + size, None))
    else:
        colour = jitter((RAIN_CLOUD if weather != "cloudy" else CLOUD)[time])
        for i in range(3):
            a, b = width * (i + r.uniform(0.25, 0.75)) / 3 - 22, r.uniform(6, 26)
            for j in range(4):
                p.oval(a + 11 * j - 3, b + r.uniform(-5, 4), a + 11 * j + 21, b + r.uniform(15, 21), colour)
            things.append(("cloud", a - 3, b, a + 52, b + 18, None))

    # the ground with a road or a river
    ground = tuple(c * ground_light for c in jitter(GROUND[season]))
    p.box(0, horizon, width, height, tuple(int(c) for c in ground))
    p.light = ground_light
    if season in ("spring", "autumn"):
        for _ in range(34):
            a, b = r.uniform(0, width), r.uniform(horizon + 6, height)
            dot = r.choice(((250, 110, 160), (255, 250, 250)) if season == "spring" else ((205, 70, 25), (150, 85, 30)))
            p.oval(a - 1.8, b - 1.8, a + 1.8, b + 1.8, dot)
    vehicle = facts["vehicle"]
    front = r.choice(("road", "river", None)) if not vehicle else "river" if vehicle["kind"] == "boat" else "road"
    edge = height - r.uniform(30, 34)
    if front:
        p.box(0, edge, width, height, jitter((112, 112, 118) if front == "road" else (60, 150, 215)))
        if front == "road":
            for a in range(-6, width, 24):
                p.box(a, edge + 14, a + 12, edge + 16, (235, 230, 200))

    # the things, from far to near
    p.light = light
    paint_of = lambda name: jitter(COLOURS[name], 7)
    for name, x in back:
        y = horizon + r.uniform(2, 8)
        if name == "tree":
            pine = r.random() < 0.3
            size = r.uniform(0.82, 0.97)
            drawing.tree(p.place(x, y, size), jitter(PINE) if pine else FOLIAGE[season] and jitter(FOLIAGE[season]), pine)
            things.append(("tree", x - 13 * size, y - 44 * size, x + 13 * size, y, None))
        else:
            building = facts["building"]
            size = r.uniform(0.9, 1.0)
            BUILDINGS[building["kind"]](p.place(x, y, size), paint_of(building["colour"]),
                                        GLASS_NIGHT if time == "night" else GLASS_DAY)
            things.append((building["kind"], x - 20, y - 44, x + 20, y, building["colour"]))
    if fly is not None:
        y, size = r.uniform(34, 37), r.uniform(0.78, 0.88)
        FLYING[facts["flying"]["kind"]](p.place(fly, y, size, r.random() < 0.5))
        things.append((facts["flying"]["kind"], fly - 14, y - 28, fly + 14, y, None))
    feet = horizon + 0.42 * (edge - horizon) + r.uniform(12, 16)
    for name, x in middle:
        y, size = feet + r.uniform(-4, 4), r.uniform(0.85, 1.0)
        if name == "person":
            colour = facts["person"].get("colour")
            hair = r.choice(((40, 28, 24), (110, 65, 30), (90, 88, 90)))
            drawing.person(p.place(x, y, size), paint_of(colour or r.choice(list(COLOURS))), hair)
            things.append(("person", x - 9, y - 38, x + 9, y, colour))
        else:
            ANIMALS[facts["animal"]["kind"]](p.place(x, y, 0.9 * size, r.random() < 0.5))
            things.append((facts["animal"]["kind"], x - 17, y - 26, x + 17, y, None))
    if vehicle:
        x, y = r.uniform(38, 0.34 * width), height - r.uniform(4, 9)
        x = x if vehicle["side"] == "left" else width - x
        VEHICLES[vehicle["kind"]](p.place(x, y, r.uniform(0.88, 1.0), r.random() < 0.5), paint_of(vehicle["colour"]))
        things.append((vehicle["kind"], x - 26, y - 28, x + 26, y, vehicle["colour"]))

    # what falls from the sky
    p.light = 1.0
    p.place(0, 0)
    for _ in range(width * height // 480 if weather in ("rainy", "snowy") else 0):
        a, b = r.uniform(0, width), r.uniform(0, height)
        if weather == "rainy":
            p.line([(a, b), (a - 3, b + 10)], (175, 195, 232) if time != "night" else (135, 155, 200), 1.1)
        else:
            p.oval(a - 1.9, b - 1.9, a + 1.9, b + 1.9, (255, 255, 255))
    return image, things


def scene(seed):
    """(picture, facts, things). The same on every machine with the pinned Pillow and numpy."""
    r = random.Random(seed)
    width, height = r.choice(SHAPES)
    facts = choose(r, width)
    image, things = paint(r, facts, width, height)
    longest = r.choice((160, 200, 224, 256, 320, 400, 480))
    size = (round(width * longest / 240), round(height * longest / 240))
    image = image.resize(size, Image.Resampling.LANCZOS)
    noise = np.random.Generator(np.random.PCG64(seed)).integers(-6, 7, (size[1], size[0], 3))
    strength = r.choice((0, 1, 2))
    image = Image.fromarray(np.clip(np.asarray(image, np.int16) + noise * strength // 2, 0, 255).astype(np.uint8))
    facts["mood"] = mood(facts)
    facts["size"] = list(size)
    return image, facts, things


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--png", help="where the picture goes")
    parser.add_argument("--json", help="where facts and questions go")
    arguments = parser.parse_args()
    image, facts, _ = scene(arguments.seed)
    if arguments.png:
        image.save(arguments.png)
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            content = {"facts": facts, "questions": questions(facts, arguments.seed), "descriptions": descriptions(facts)}
            json.dump(content, file, ensure_ascii=False, indent=1)


if __name__ == "__main__":
    main()
