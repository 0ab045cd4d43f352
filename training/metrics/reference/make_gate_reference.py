"""Makes gate.json: what SciPy says of Clopper-Pearson bounds, and scikit-learn of a paired bootstrap, with the cases.

scipy 1.17.1, scikit-learn 1.9.1
"""

import json
import pathlib

import numpy as np
from scipy.stats import beta
from sklearn.metrics import roc_auc_score

random = np.random.RandomState(11)

bounds = [
    {"events": k, "trials": n, "upper": 1.0 if k == n else beta.ppf(0.95, k + 1, n - k)}
    for k, n in [(0, 1), (0, 29), (1, 46), (4, 100), (5, 100), (50, 1000), (999, 1000), (7, 7), (30, 5000)]
]

patients = 40
labels, owners, candidate, reference = [], [], [], []
for patient in range(patients):
    ease = random.randn()
    for label in [0, 1, 1, 1]:
        score = ease + 1.2 * label + 0.8 * random.randn()
        labels.append(label)
        owners.append(str(patient))
        reference.append(round(score, 1))
        candidate.append(round(score + 0.2 * label + 0.3 * random.randn(), 1))
labels, candidate, reference = map(np.asarray, [labels, candidate, reference])
cases = [np.flatnonzero(np.asarray(owners) == str(patient)) for patient in range(patients)]


def auroc(scores, of):
    return roc_auc_score(labels[of], scores[of])


drawn = []
for _ in range(4000):
    of = np.concatenate([cases[i] for i in random.randint(patients, size=patients)])
    drawn.append(auroc(candidate, of) - auroc(reference, of))
everything = np.arange(len(labels))
gate = {
    "bounds": bounds,
    "paired": {
        "labels": labels.tolist(),
        "patients": owners,
        "candidate": candidate.tolist(),
        "reference": reference.tolist(),
        "difference": auroc(candidate, everything) - auroc(reference, everything),
        "lowerBound": float(np.quantile(drawn, 0.05)),
    },
}
(pathlib.Path(__file__).parent / "gate.json").write_text(json.dumps(gate, indent=1) + "\n")
