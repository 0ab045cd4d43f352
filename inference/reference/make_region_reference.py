"""Makes region.json: the liver preprocessing of the released code, in its words, by OpenCV 4.6 (Debian 12)."""

import base64
import hashlib
import json
import pathlib

import cv2
import numpy as np

SIDE = 224


def bounding_box(image):
    rows, columns = np.nonzero(image > 0)
    return columns.min(), rows.min(), columns.max() - columns.min() + 1, rows.max() - rows.min() + 1


def place(image):
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    x, y, w, h = bounding_box(image)
    cropped = image[y:y + h, x:x + w]
    if h > SIDE or w > SIDE:
        scale = min(SIDE / h, SIDE / w)
        w, h = int(w * scale), int(h * scale)
        cropped = cv2.resize(cropped, (int(w), int(h)), interpolation=cv2.INTER_LINEAR)
    top, left = (SIDE - h) // 2, (SIDE - w) // 2
    canvas[top:top + h, left:left + w] = cropped
    return canvas


def picture(rows, columns, box, seed):
    """A mixed pattern inside a box, black outside; the tests make the same one from these numbers."""
    top, left, height, width = box
    image = np.zeros((rows, columns), np.uint8)
    y, x = np.mgrid[0:height, 0:width]
    image[top:top + height, left:left + width] = (1 + (x * x * 3 + y * 7 + x * y * seed) // 11 % 255).astype(np.uint8)
    return image


def encode(image):
    return base64.b64encode(cv2.imencode(".png", image)[1].tobytes()).decode()


cases = []
for rows, columns, box, seed in [
    (512, 512, (100, 150, 121, 130), 1),  # fits: an odd and an even margin
    (512, 512, (20, 30, 400, 300), 2),  # too high
    (300, 500, (0, 0, 225, 480), 3),  # too wide, touches the border
    (224, 224, (0, 0, 224, 224), 5),  # exactly
    (64, 80, (10, 70, 1, 1), 4),  # one pixel
]:
    image = picture(rows, columns, box, seed)
    canvas = place(image)
    cases.append({
        "rows": rows,
        "columns": columns,
        "box": box,
        "seed": seed,
        "canvas": hashlib.sha256(canvas.tobytes()).hexdigest(),
        "filtered": encode(cv2.bilateralFilter(canvas, d=9, sigmaColor=75, sigmaSpace=75)),
    })

path = pathlib.Path(__file__).parent / "region.json"
path.write_text(json.dumps(cases, indent=2) + "\n")
