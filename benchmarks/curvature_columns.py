"""Processor seconds that each group of a study's curvature columns takes for one image, at three radii, one thread."""

import time

import torch

from attacks import load_network, load_picture
from attacks.geometry import local_geometry
from attacks.soft_logit import soft_logit
from attacks.studies.curvature_columns import GROUPS, CurvatureColumns

CASES = {"digits": ("digits/5", (0.02, 0.1, 0.3)), "mnist_lenet": ("mnist/7", (0.01, 0.03, 0.1))}


def main() -> None:
    torch.set_num_threads(1)
    for name, (picture, radii) in CASES.items():
        network = load_network(name)
        x = network.preprocess(load_picture(picture, channels=1).image)[0]
        settings = CurvatureColumns(betas=(1.0,), radii=radii, columns=tuple(GROUPS), steps=40, restarts=6, seed=0)
        start = time.process_time()
        soft = soft_logit(network, x, int(network.predict(x[None])), beta=1.0)
        point = x.flatten().to(soft.dtype)
        geometry = local_geometry(soft, point)
        print(f"{name}: softening, matrices and curvatures {time.process_time() - start:.2f} s", flush=True)
        for group in ("rungs", "certificate", "attained"):
            start = time.process_time()
            GROUPS[group][0](soft, point, geometry, settings)
            print(f"{name}: {group} {time.process_time() - start:.2f} s", flush=True)


if __name__ == "__main__":
    main()
