"""The table of docs/performance.md from the JSON that `run` writes."""

# key, title, unit, whether more is better, factor from the JSON's unit
ROWS = [
    ("open", "open the model", "s", False, 1),
    ("encode", "encode the picture", "s", False, 1),
    ("prefill", "prefill, 600 tokens", "tokens/s", True, 1),
    ("prefill_flash", "the same, llama.cpp with flash attention", "tokens/s", True, 1),
    ("decode", "decode, after 600 tokens", "tokens/s", True, 1),
    ("decode_short", "decode, from the beginning", "tokens/s", True, 1),
    ("read_share", "the same, share of the machine's read bandwidth", "%", True, 100),
    ("eight", "decode, eight answers at the same time", "tokens/s of all", True, 1),
    ("first_word", "whole process to the first word about a picture", "s", False, 1),
    ("second_question", "second question on the picture, to its first word", "s", False, 1),
    ("peak", "peak memory of that process", "GB", False, 1e-9),
    ("quoting", "decode, an answer that quotes the prompt", "tokens/s", True, 1),
]
# Rows whose limn figure, or whose peer's figure, is taken from another row.
LIMN_FIGURE = {"prefill_flash": "prefill"}
PEER_FIGURE = {"quoting": "decode"}


def number(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def ceilings(machine):
    return (f"{machine['read_gb_s']:.0f} GB/s read, {machine['bf16_gflop_s']:.0f} GFLOP/s in 16 bits, "
            f"{machine['int8_gop_s']:.0f} GOP/s int8")


def describe(report):
    machine = report["machine"]
    return (f"{report['date']}: {report['model']}, {report['weights_bytes'] / 1e9:.2f} GB of weights; "
            f"{machine['processor']}, {machine['threads']} threads, {machine['isa']}; ceilings that `limn bench` "
            f"measured: {ceilings(machine)}; medians of {report['repetitions']}, taken in turn.")


def markdown(report):
    """Each peer's figure is followed by how many times better limn's is."""
    medians = report["medians"]
    limn, peers = medians["limn"], [name for name in medians if name != "limn"]
    lines = [describe(report), "",
             "| | limn | " + " | ".join(f"{peer} | ratio" for peer in peers) + " |",
             "|---|" + "---:|" * (1 + 2 * len(peers))]
    for key, title, unit, more, factor in ROWS:
        mine = limn.get(LIMN_FIGURE.get(key, key))
        cells, any_figure = [], key in limn
        for peer in peers:
            figure = medians[peer].get(key, medians[peer].get(PEER_FIGURE.get(key)))
            any_figure = any_figure or key in medians[peer]
            ratio = "–"
            if figure and mine:
                ratio = number(mine / figure if more else figure / mine)
            cells += [number(figure * factor) if figure else "–", ratio]
        if any_figure:
            cells.insert(0, number(mine * factor) if mine else "–")
            lines.append(f"| {title}, {unit} | " + " | ".join(cells) + " |")
    for name, reason in report["failures"].items():
        lines += ["", f"Not measured: {name} ({' '.join(reason.split())})"]
    return "\n".join(lines)
