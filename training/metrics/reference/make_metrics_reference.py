"""Makes metrics.json: what scikit-learn and scikit-image say of cases that are stored with it.

python3-sklearn 1.2, python3-skimage 0.19 (Debian 12). PRO: regions by skimage.measure.label (8-connected), the
curve by a threshold at every distinct value, the area by numpy.interp and numpy.trapz.
"""

import base64
import json
import pathlib

import numpy as np
from skimage.measure import label
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

random = np.random.RandomState(7)


def encode(values, dtype):
    return base64.b64encode(np.asarray(values, dtype).tobytes()).decode()


def pro(maps, masks, limit=0.3):
    regions = []  # the map values of each region
    for image, mask in zip(maps, masks):
        labels = label(mask, connectivity=2)
        regions += [image[labels == k] for k in range(1, labels.max() + 1)]
    normal = np.concatenate([image[mask == 0] for image, mask in zip(maps, masks)])
    thresholds = np.unique(maps)[::-1]
    fpr = np.array([0] + [(normal >= t).mean() for t in thresholds])
    overlap = np.array([0] + [np.mean([(region >= t).mean() for region in regions]) for t in thresholds])
    inside = fpr <= limit
    # At the limit itself the curve lies between its neighbours.
    x = np.append(fpr[inside], limit)
    y = np.append(overlap[inside], np.interp(limit, fpr, overlap))
    return np.trapz(y, x) / limit


images = []
for n, ties, prevalence in [(300, False, 0.5), (500, True, 0.1), (40, True, 0.9)]:
    labels = (random.rand(n) < prevalence).astype(np.uint8)
    scores = (random.rand(n) + 0.4 * labels).astype(np.float32)
    if ties:
        scores = np.round(scores, 1).astype(np.float32)
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    images.append({
        "scores": encode(scores, np.float32),
        "labels": encode(labels, np.uint8),
        "auroc": roc_auc_score(labels, scores),
        "averagePrecision": average_precision_score(labels, scores),
        "rocPoints": len(fpr),
        "rocSquares": float(np.sum(fpr**2 + tpr**2)),
    })

pixels = []
for coarse in [False, True]:
    side, count = 24, 5
    masks = np.zeros((count, side, side), np.uint8)
    masks[0, 2:9, 3:8] = 1
    masks[0, 9:12, 8:12] = 1  # touches the first one at a corner
    masks[1, 0:4, 20:24] = 1
    masks[1, 15:23, 1:3] = 1
    masks[2, 12, 12] = 1
    masks[3] = random.rand(side, side) < 0.1
    maps = (random.rand(count, side, side) * (0.2 + 0.8 * random.rand(count, side, side) ** (1 - masks))).astype(np.float32)
    if coarse:  # multiples of 1/16: exact in every bin
        maps = np.round(maps * 16).astype(np.float32) / 16
    pixels.append({
        "exact": coarse,
        "columns": side,
        "count": count,
        "maps": encode(maps, np.float32),
        "masks": encode(masks, np.uint8),
        "regions": int(sum(label(mask, connectivity=2).max() for mask in masks)),
        "auroc": roc_auc_score(masks.ravel(), maps.ravel()),
        "averagePrecision": average_precision_score(masks.ravel(), maps.ravel()),
        "pro": pro(maps, masks),
    })

path = pathlib.Path(__file__).parent / "metrics.json"
path.write_text(json.dumps({"images": images, "pixels": pixels}, indent=2) + "\n")
