"""Train the digits network: ``python -m curvature.weights.train_digits`` (about half a minute).

8x8 digits of scikit-learn divided by 16, 1,400 images drawn with seed 0, Adam 1e-3, batch 64, 60
epochs, no weight decay, seed 0. The other 397 images are held out.
"""

import sys

import torch
from torch import nn

from curvature.demo_networks import DIGITS_WEIGHTS, digits_architecture, digits_split

EPOCHS, BATCH, RATE, SEED = 60, 64, 1e-3, 0


def main() -> None:
    """Train, print the held-out accuracy and write the weights file."""
    from safetensors.torch import save_file  # only this script needs the two extras
    from sklearn.datasets import load_digits

    data = load_digits()
    images = torch.tensor(data.images / 16, dtype=torch.float32)[:, None]
    labels = torch.tensor(data.target)
    generator = torch.Generator().manual_seed(SEED)
    torch.manual_seed(SEED)  # nn.Linear draws its first weights from the global generator
    network = digits_architecture()
    training, held_out = digits_split()
    _fit(network, images[training], labels[training], generator)
    with torch.no_grad():
        right = network(images[held_out]).argmax(1) == labels[held_out]
    accuracy = right.float().mean().item()
    save_file(
        network.state_dict(), DIGITS_WEIGHTS, metadata={"seed": str(SEED), "held_out_accuracy": f"{accuracy:.4f}"}
    )
    sys.stdout.write(f"held-out accuracy {accuracy:.4f}, written to {DIGITS_WEIGHTS.name}\n")


def _fit(network: nn.Module, images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images), generator=generator).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()


if __name__ == "__main__":
    main()
