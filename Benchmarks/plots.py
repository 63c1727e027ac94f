"""A line chart as SVG: axes labelled with units, a legend, and colours that are legible on light and on dark pages."""

import math
from html import escape

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 72, 24, 56, 60
# Light page, dark page. Markers differ as well, so that readers need not tell colours apart.
COLOURS = [("#0072b2", "#56b4e9"), ("#c04a00", "#f0924a"), ("#007a5a", "#2fc295"), ("#8a3f74", "#d58bbd")]

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f } .title { font-size: 15px; font-weight: 600 }
.page { fill: #ffffff } .grid { stroke: #d0d7de } .axis { stroke: #57606a }
polyline { fill: none; stroke-width: 2 }
"""
DARK = """
text { fill: #e6edf3 } .page { fill: #0d1117 } .grid { stroke: #30363d } .axis { stroke: #8b949e }
"""


def ticks(largest):
    """Round numbers from 0 to a little above `largest`, about five of them."""
    rough = largest / 5
    unit = 10 ** math.floor(math.log10(rough))
    step = next(f * unit for f in (1, 2, 2.5, 5, 10) if f * unit >= rough)
    return [step * i for i in range(math.ceil(largest / step - 1e-9) + 1)]


def label(value):
    return f"{value:,.0f}" if value == round(value) else f"{value:g}"


def marker(index, x, y):
    if index % 3 == 0:
        return f'<circle class="m{index}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
    if index % 3 == 1:
        return f'<rect class="m{index}" x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8"/>'
    return f'<path class="m{index}" d="M{x:.1f} {y - 5:.1f} l5 9 h-10 z"/>'


def chart(title, x_name, y_name, series, x_ticks=None):
    """series: {name: [(x, y), …]}; both axes begin at 0. Returns the SVG's text."""
    points = [point for line in series.values() for point in line]
    xs, ys = x_ticks or ticks(max(x for x, _ in points)), ticks(max(y for _, y in points))
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(x, y):
        return LEFT + wide * x / xs[-1], TOP + high * (1 - y / ys[-1])

    style = STYLE + "".join(
        f".l{i} {{ stroke: {light} }} .m{i} {{ fill: {light} }}\n" for i, (light, _) in enumerate(COLOURS))
    style += "@media (prefers-color-scheme: dark) {" + DARK + "".join(
        f".l{i} {{ stroke: {dark} }} .m{i} {{ fill: {dark} }}\n" for i, (_, dark) in enumerate(COLOURS)) + "}"
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
           f"<title>{escape(title)}</title>", f"<style>{style}</style>",
           f'<rect class="page" width="{WIDTH}" height="{HEIGHT}"/>',
           f'<text class="title" x="{LEFT}" y="22">{escape(title)}</text>']
    for y in ys:
        _, at = place(0, y)
        out.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
                   f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{label(y)}</text>')
    for x in xs:
        at, bottom = place(x, 0)
        out.append(f'<line class="axis" x1="{at:.1f}" x2="{at:.1f}" y1="{bottom:.1f}" y2="{bottom + 5:.1f}"/>'
                   f'<text x="{at:.1f}" y="{bottom + 20:.1f}" text-anchor="middle">{label(x)}</text>')
    out.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{TOP + high}" y2="{TOP + high}"/>'
               f'<text x="{LEFT + wide / 2}" y="{HEIGHT - 14}" text-anchor="middle">{escape(x_name)}</text>'
               f'<text transform="translate(18 {TOP + high / 2}) rotate(-90)" text-anchor="middle">{escape(y_name)}</text>')
    at = LEFT
    for i, (name, line) in enumerate(series.items()):
        places = [place(x, y) for x, y in sorted(line)]
        out.append(f'<polyline class="l{i}" points="' + " ".join(f"{x:.1f},{y:.1f}" for x, y in places) + '"/>')
        out += [marker(i, x, y) for x, y in places]
        out.append(marker(i, at + 6, 40) + f'<text x="{at + 18}" y="44">{escape(name)}</text>')
        at += 40 + 7.5 * len(name)
    return "\n".join(out) + "\n</svg>\n"
