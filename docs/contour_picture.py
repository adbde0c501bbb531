"""Level sets of the 2-50-1 network, ReLU beside softplus, coloured by their curvature.

``python docs/contour_picture.py`` writes ``docs/contour.png``. After figure 20 of the supplement of arXiv 1906.07983.
"""

from pathlib import Path

import numpy as np
import torch
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from curvature import contour_network, logit, principal_curvatures, soften

BETA, LEVELS = 1.0, 17


def main() -> None:
    """Draw both networks on [-1, 1]^2."""
    network = contour_network(seed=0)
    soft = soften(network, BETA)
    figure = Figure(figsize=(7.4, 3.5), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    grid = torch.linspace(-1, 1, 301, dtype=torch.float64)
    points = torch.stack(torch.meshgrid(grid, grid, indexing="xy"), -1).reshape(-1, 2)
    titles = ("ReLU: straight, with kinks", rf"softplus, $\beta = {BETA:g}$: smooth, curved")
    drawn = None
    for panel, model, title in zip(axes, (network, soft), titles, strict=True):
        with torch.no_grad():
            values = model(points).reshape(301, 301).numpy()
        lines = panel.contour(grid, grid, values, levels=LEVELS, colors="0.35", linewidths=0.8, linestyles="solid")
        panel.set(title=title, xlabel="$x_1$", aspect="equal", xticks=[-1, 0, 1], yticks=[-1, 0, 1])
        if model is soft:
            lines.set_visible(False)
            pieces, curvatures = _coloured(soft, lines.allsegs)
            drawn = LineCollection(pieces, array=curvatures, cmap="viridis", linewidths=1.6)
            drawn.set_clim(0, None)
            panel.add_collection(drawn)
    axes[0].set_ylabel("$x_2$")
    figure.colorbar(drawn, ax=axes, label="|curvature of the level set| [1/length]", shrink=0.85)
    figure.savefig(Path(__file__).with_name("contour.png"), dpi=110, metadata={"Software": None})


def _coloured(soft: torch.nn.Module, levels: list[list[np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """The pieces of all level sets and, beside each, the curvature in its middle."""
    pieces = np.concatenate([np.stack([line[:-1], line[1:]], 1) for level in levels for line in level if len(line) > 1])
    f = logit(soft, 0)
    middles = torch.from_numpy(pieces.mean(1))
    curvatures = torch.stack([principal_curvatures(f, x) for x in middles]).abs().squeeze(1).numpy()
    print(f"|curvature|: median {np.median(curvatures):.3g}, largest {curvatures.max():.3g} at {len(pieces)} points")
    return pieces, curvatures


if __name__ == "__main__":
    main()
