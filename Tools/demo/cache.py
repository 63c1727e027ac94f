"""Draws scenes ahead of training, in the form that the model sees, into chunks on disk.

    python3 Tools/demo/cache.py FOLDER FIRST_CHUNK CHUNKS

A chunk is 2,048 scenes: FOLDER/NNNNN.npy (uint8 pixels after the image processor's padding and resizing) and
FOLDER/NNNNN.json (facts and things). Chunk n holds the seeds from 2048 n on. Training opens whatever chunks exist.
"""

import json
import os
import sys

import numpy as np
from PIL import Image

from scene import scene

CHUNK, SIZE, PADDING = 2048, 120, (122, 116, 104)


def see(image):
    """Pads to a square with the mean colour and resizes, as transformers' LlavaImageProcessor does."""
    side = max(image.size)
    square = Image.new("RGB", (side, side), PADDING)
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return np.asarray(square.resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def draw(folder, chunk):
    pixels, notes = np.empty((CHUNK, SIZE, SIZE, 3), np.uint8), []
    for i in range(CHUNK):
        image, facts, things = scene(CHUNK * chunk + i)
        pixels[i] = see(image)
        notes.append([facts, things])
    path = os.path.join(folder, f"{chunk:05d}")
    np.save(path + ".tmp.npy", pixels)
    with open(path + ".json", "w") as file:
        json.dump(notes, file)
    os.rename(path + ".tmp.npy", path + ".npy")  # last, so that an existing chunk is complete


def main():
    folder, first, chunks = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    os.makedirs(folder, exist_ok=True)
    for chunk in range(first, first + chunks):
        if not os.path.exists(os.path.join(folder, f"{chunk:05d}.npy")):
            draw(folder, chunk)


if __name__ == "__main__":
    main()
