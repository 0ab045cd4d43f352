"""Makes ks.json: what scipy.stats.ks_2samp (1.17.1, exact, two-sided) says of samples that are stored with it."""

import json
import pathlib

import numpy as np
from scipy.stats import ks_2samp

random = np.random.RandomState(11)
cases = []
for m, n, shift in [(1, 1, 0), (5, 8, 0), (19, 30, 0.5), (100, 37, 0), (200, 300, 0.2), (60, 60, 2)]:
    a = random.normal(size=m).round(6).tolist()
    b = random.normal(shift, size=n).round(6).tolist()
    found = ks_2samp(a, b, alternative="two-sided", method="exact")
    cases.append({"a": a, "b": b, "statistic": found.statistic, "pValue": found.pvalue})
pathlib.Path(__file__).with_name("ks.json").write_text(json.dumps(cases) + "\n")
