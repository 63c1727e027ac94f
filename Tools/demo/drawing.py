"""The shapes of a scene: each function draws one thing with a Pen.

A thing is drawn around its foot: (0, 0) is the middle of its lower edge, x grows to the right, y grows
downwards, so everything above the ground has a negative y. The unit is 1/240 of the longest side of the
picture. Shapes are large, outlined and few in colours, because the model sees 120 x 120 pixels.
"""

from PIL import ImageDraw

# Colours that may be asked for. They are well separated, even at night and after noise.
COLOURS = {
    "red": (205, 35, 40),
    "yellow": (245, 210, 40),
    "green": (20, 140, 75),
    "blue": (40, 85, 215),
    "purple": (140, 55, 175),
    "white": (245, 245, 245),
}
OUTLINE = (35, 32, 38)
GLASS_DAY, GLASS_NIGHT = (170, 205, 225), (255, 225, 120)


class Pen:
    """Draws in a thing's own coordinates: moved, scaled, mirrored, and darkened at night."""

    def __init__(self, image, scale, light=1.0):
        self.draw, self.scale, self.light = ImageDraw.Draw(image), scale, light
        self.place(0, 0)

    def place(self, x, y, size=1.0, flip=False):
        self.x, self.y, self.size, self.sign = x, y, size, -1 if flip else 1
        return self

    def _at(self, x, y):
        return ((self.x + self.sign * self.size * x) * self.scale, (self.y + self.size * y) * self.scale)

    def _box(self, x0, y0, x1, y1):
        (a, b), (c, d) = self._at(x0, y0), self._at(x1, y1)
        return [min(a, c), min(b, d), max(a, c), max(b, d)]

    def _tint(self, colour):
        return None if colour is None else tuple(int(c * self.light) for c in colour)

    def _width(self, width):
        return max(1, round(width * self.size * self.scale))

    def box(self, x0, y0, x1, y1, fill, outline=None, width=1.2):
        self.draw.rectangle(self._box(x0, y0, x1, y1), fill=self._tint(fill), outline=self._tint(outline),
                            width=self._width(width))

    def oval(self, x0, y0, x1, y1, fill, outline=None, width=1.2):
        self.draw.ellipse(self._box(x0, y0, x1, y1), fill=self._tint(fill), outline=self._tint(outline),
                          width=self._width(width))

    def shape(self, points, fill, outline=None, width=1.2):
        self.draw.polygon([self._at(x, y) for x, y in points], fill=self._tint(fill), outline=self._tint(outline),
                          width=self._width(width))

    def line(self, points, fill, width=2):
        self.draw.line([self._at(x, y) for x, y in points], fill=self._tint(fill), width=self._width(width))


# ---------------------------------------------------------------- buildings: pen, colour, window colour

def house(p, colour, glass):
    p.box(-25, -32, 25, 0, colour, OUTLINE)
    p.shape([(-31, -31), (0, -58), (31, -31)], (95, 60, 50), OUTLINE)
    p.box(-5, -18, 5, 0, (80, 50, 35), OUTLINE)
    p.box(-20, -24, -10, -13, glass, OUTLINE)
    p.box(10, -24, 20, -13, glass, OUTLINE)


def castle(p, colour, glass):
    p.box(-18, -34, 18, 0, colour, OUTLINE)
    for x in (-28, 14):
        p.box(x, -48, x + 14, 0, colour, OUTLINE)
        for k in (0, 5, 10):
            p.box(x + k, -54, x + k + 4, -48, colour, OUTLINE)
        p.box(x + 5, -40, x + 9, -30, glass, OUTLINE)
    p.oval(-7, -22, 7, -8, (50, 38, 34))
    p.box(-7, -15, 7, 0, (50, 38, 34))


def lighthouse(p, colour, glass):
    p.shape([(-14, 0), (-8, -48), (8, -48), (14, 0)], colour, OUTLINE)
    p.shape([(-12.4, -12), (-10.9, -24), (10.9, -24), (12.4, -12)], (110, 110, 118), OUTLINE)
    p.box(-11, -50, 11, -47, OUTLINE)
    p.box(-6, -58, 6, -50, (255, 235, 130), OUTLINE)
    p.shape([(-8, -58), (0, -65), (8, -58)], OUTLINE)


def windmill(p, colour, glass):
    p.shape([(-18, 0), (-10, -42), (10, -42), (18, 0)], colour, OUTLINE)
    p.box(-5, -14, 5, 0, (80, 50, 35), OUTLINE)
    for dx, dy in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        p.line([(0, -40), (23 * dx, -40 + 21 * dy)], (60, 45, 40), 6)
        p.line([(7 * dx, -40 + 6 * dy), (22 * dx, -40 + 20 * dy)], (250, 245, 225), 3.5)
    p.oval(-4, -44, 4, -36, OUTLINE)


def tent(p, colour, glass):
    p.shape([(-34, 0), (0, -42), (34, 0)], colour, OUTLINE)
    p.shape([(-10, 0), (0, -28), (10, 0)], (50, 40, 38), OUTLINE)
    p.line([(-4, -47), (0, -42), (4, -47)], OUTLINE, 2)


def tower(p, colour, glass):
    p.box(-19, -64, 19, 0, colour, OUTLINE)
    for row in range(4):
        for column in (-14, -4, 6):
            p.box(column, -58 + 14 * row, column + 8, -50 + 14 * row, glass, OUTLINE)


# ---------------------------------------------------------------- plants

def tree(p, foliage, pine):
    """foliage None: a bare tree, as in winter."""
    bark = (92, 60, 38)
    p.box(-3.5, -20, 3.5, 0, bark)
    if foliage is None:
        p.line([(0, -16), (-11, -36)], bark, 4)
        p.line([(0, -16), (11, -36)], bark, 4)
        p.line([(0, -16), (0, -44)], bark, 4)
        p.line([(-6, -27), (-13, -28)], bark, 3)
        p.line([(6, -27), (13, -28)], bark, 3)
    elif pine:
        p.shape([(-15, -11), (0, -36), (15, -11)], foliage)
        p.shape([(-12, -25), (0, -48), (12, -25)], foliage)
    else:
        p.oval(-15, -45, 15, -13, foliage)


# ---------------------------------------------------------------- animals, looking to the right

def cat(p):
    c = (40, 40, 46)
    p.line([(-12, -10), (-19, -16), (-17, -27)], c, 4)
    p.oval(-15, -17, 10, -2, c)
    p.oval(2, -27, 19, -10, c)
    p.shape([(3, -21), (4, -33), (11, -25)], c)
    p.shape([(11, -25), (17, -33), (18, -21)], c)
    for x in (-11, 4):
        p.box(x, -6, x + 4, 0, c)
    for x in (8, 14):
        p.oval(x - 1.8, -21, x + 1.8, -17, (180, 240, 60))


def dog(p):
    c = (165, 98, 42)
    p.line([(-15, -16), (-22, -27)], c, 4)
    p.box(-17, -19, 9, -8, c)
    p.box(5, -29, 17, -15, c)
    p.box(15, -23, 24, -15, c)
    p.oval(21, -24, 26, -19, OUTLINE)
    p.oval(3, -30, 9, -15, (95, 52, 20))
    for x in (-17, 4):
        p.box(x, -10, x + 5, 0, c)


def horse(p):
    c = (120, 48, 30)
    p.line([(-19, -28), (-25, -12)], (30, 20, 18), 4)
    p.oval(-21, -33, 13, -15, c)
    p.shape([(4, -26), (13, -45), (20, -42), (13, -20)], c)
    p.shape([(13, -47), (27, -37), (24, -32), (13, -38)], c)
    p.line([(3, -29), (12, -46)], (30, 20, 18), 4)
    for x in (-18, -11, 3, 9):
        p.box(x, -20, x + 3.5, 0, c)


def sheep(p):
    for x in (-11, 5):
        p.box(x, -8, x + 4, 0, OUTLINE)
    for x0, y0 in ((-18, -22), (-8, -26), (2, -22), (-15, -15), (-3, -15)):
        p.oval(x0, y0, x0 + 15, y0 + 14, (250, 248, 240), (150, 148, 145), 1)
    p.oval(-13, -21, 11, -7, (250, 248, 240))
    p.oval(10, -25, 23, -11, OUTLINE)


def duck(p):
    c = (250, 200, 20)
    p.oval(-15, -17, 10, 0, c, (170, 110, 0), 1)
    p.shape([(-10, -12), (-20, -18), (-12, -4)], c)
    p.oval(3, -28, 17, -13, c, (170, 110, 0), 1)
    p.shape([(15, -23), (25, -19), (15, -16)], (235, 90, 10))
    p.oval(9, -24, 13, -20, OUTLINE)


def rabbit(p):
    c, edge = (205, 195, 200), (120, 108, 114)
    p.oval(-18, -9, -9, 0, (255, 255, 255), edge, 1)
    p.oval(-14, -19, 9, 0, c, edge, 1)
    for x in (4, 11):
        p.oval(x, -42, x + 6, -20, c, edge, 1)
        p.oval(x + 2, -38, x + 4, -24, (240, 140, 160))
    p.oval(2, -26, 18, -11, c, edge, 1)
    p.oval(11, -22, 14, -18, OUTLINE)


# ---------------------------------------------------------------- vehicles, driving to the right

def _wheels(p, xs, radius, y=0):
    for x in xs:
        p.oval(x - radius, y - 2 * radius, x + radius, y, (25, 25, 28), OUTLINE)
        p.oval(x - radius / 2.4, y - 1.4 * radius, x + radius / 2.4, y - 0.6 * radius, (190, 190, 195))


def car(p, colour):
    p.shape([(-14, -16), (-8, -29), (10, -29), (18, -16)], colour, OUTLINE)
    p.shape([(-9, -17), (-5, -26), (7, -26), (12, -17)], GLASS_DAY)
    p.box(-27, -18, 27, -5, colour, OUTLINE)
    _wheels(p, (-15, 15), 6)


def bus(p, colour):
    p.box(-35, -37, 35, -5, colour, OUTLINE)
    for x in (-31, -18, -5, 8, 21):
        p.box(x, -32, x + 10, -21, GLASS_DAY, OUTLINE)
    _wheels(p, (-21, 21), 6)


def truck(p, colour):
    p.box(-33, -36, 10, -6, colour, OUTLINE)
    p.box(12, -26, 31, -6, (120, 120, 128), OUTLINE)
    p.box(19, -23, 29, -15, GLASS_DAY, OUTLINE)
    _wheels(p, (-23, -9, 21), 6)


def bicycle(p, colour):
    for x in (-15, 15):
        p.oval(x - 12, -24, x + 12, 0, None, (25, 25, 28), 2.6)
    p.line([(-15, -12), (-5, -28), (11, -28), (0, -12), (-15, -12)], colour, 4.5)
    p.line([(0, -12), (-6, -31)], colour, 4.5)
    p.line([(15, -12), (10, -34), (17, -36)], colour, 4)
    p.line([(-11, -32), (-1, -32)], OUTLINE, 4)


def boat(p, colour):
    p.line([(0, -12), (0, -42)], OUTLINE, 3)
    p.shape([(3, -42), (24, -16), (3, -16)], (252, 252, 245), OUTLINE)
    p.shape([(-32, -15), (32, -15), (22, 0), (-22, 0)], colour, OUTLINE)


# ---------------------------------------------------------------- people and things that fly

def person(p, clothes, hair):
    p.line([(-3.5, -14), (-4.5, 0)], (45, 45, 70), 5)
    p.line([(3.5, -14), (4.5, 0)], (45, 45, 70), 5)
    p.line([(-6, -27), (-12, -15)], (235, 185, 150), 4)
    p.line([(6, -27), (12, -15)], (235, 185, 150), 4)
    p.shape([(-8, -30), (8, -30), (9, -12), (-9, -12)], clothes, OUTLINE)
    p.oval(-7, -44, 7, -30, hair)
    p.oval(-5.5, -41, 5.5, -30, (240, 195, 160))


def balloon(p):
    p.line([(-7, -14), (-3, -6)], OUTLINE, 1.5)
    p.line([(7, -14), (3, -6)], OUTLINE, 1.5)
    p.oval(-13, -36, 13, -10, (225, 50, 60), OUTLINE)
    p.oval(-5, -36, 5, -10, (255, 225, 90), OUTLINE)
    p.box(-4.5, -7, 4.5, 0, (120, 75, 35), OUTLINE)


def airplane(p):
    c = (232, 234, 240)
    p.shape([(-20, -9), (-26, -22), (-18, -22), (-11, -10)], c, OUTLINE)
    p.oval(-24, -17, 25, -5, c, OUTLINE)
    p.shape([(-2, -11), (-13, 3), (-4, 3), (9, -11)], (90, 110, 165), OUTLINE)


def bird(p):
    for c, width in ((30, 32, 45), 7), ((250, 250, 250), 3.5):
        p.line([(-21, -20), (-11, -24), (0, -10), (11, -24), (21, -20)], c, width)
    p.oval(-6, -16, 6, -3, (250, 250, 250), (30, 32, 45), 1.8)


def kite(p):
    p.line([(0, -12), (-4, -5), (4, 0), (-2, 6)], OUTLINE, 2)
    p.shape([(0, -38), (14, -25), (0, -10), (-14, -25)], (20, 190, 190), OUTLINE)
    p.line([(0, -38), (0, -10)], OUTLINE, 1.5)
    p.line([(-14, -25), (14, -25)], OUTLINE, 1.5)


BUILDINGS = {f.__name__: f for f in (house, castle, lighthouse, windmill, tent, tower)}
ANIMALS = {f.__name__: f for f in (cat, dog, horse, sheep, duck, rabbit)}
VEHICLES = {f.__name__: f for f in (car, bus, truck, bicycle, boat)}
FLYING = {f.__name__: f for f in (balloon, airplane, bird, kite)}
