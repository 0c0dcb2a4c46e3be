"""Writes tests/golden/exchange/: small networks of PyTorch and Keras with random weights, in files as these
write them, with inputs and what they make of them. Needs torch, safetensors, keras (KERAS_BACKEND=torch), numpy.

    KERAS_BACKEND=torch python tests/golden/make_exchange.py

The layers of each network, as threadcount has them, stand in tests/training/exchange.rs."""

import os
import pathlib

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
import torch
from keras import layers
from safetensors.torch import save_file
from torch import nn

OUT = pathlib.Path(__file__).parent / "exchange"
SAMPLES = 3


class Last(nn.Module):
    """The last hidden state of a recurrent module."""

    def __init__(self, module):
        super().__init__()
        self.cell = module

    def forward(self, x):
        return self.cell(x)[0][:, -1]


class Named(nn.Module):
    """Modules whose names are not in the order of their use."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(2, eps=1e-3)
        self.conv = nn.Conv2d(1, 2, 3, bias=False)
        self.fc1 = nn.Linear(2 * 3 * 2, 5)
        self.fc2 = nn.Linear(5, 3)

    def forward(self, x):
        x = torch.relu(self.norm(self.conv(x)))
        return self.fc2(torch.tanh(self.fc1(x.flatten(1))))


def torch_networks():
    relu = nn.ReLU
    return {
        # An image that is not square, of two channel counts; a normalisation behind the flatten.
        "torch_conv": ((2, 8, 6), nn.Sequential(
            nn.Conv2d(2, 3, 3, padding="same"), relu(), nn.BatchNorm2d(3), nn.MaxPool2d(2),
            nn.Conv2d(3, 4, 2), nn.LeakyReLU(0.1), nn.Flatten(), nn.BatchNorm1d(24), nn.Dropout(0.5),
            nn.Linear(24, 6), nn.Tanh(), nn.Linear(6, 3),
        )),
        "torch_named": ((1, 5, 4), Named()),
        "torch_lstm": ((4, 3), nn.Sequential(Last(nn.LSTM(3, 5, batch_first=True)), nn.Linear(5, 3))),
        "torch_rnn": ((4, 3), nn.Sequential(Last(nn.RNN(3, 5, batch_first=True)), nn.LayerNorm(5), nn.Linear(5, 3))),
    }


def keras_networks():
    return {
        "keras_conv": keras.Sequential([
            keras.Input((8, 6, 2)),
            layers.Conv2D(3, 3, padding="same", activation="relu"), layers.BatchNormalization(),
            layers.MaxPooling2D(2), layers.Conv2D(4, 2, activation=layers.LeakyReLU(negative_slope=0.1)),
            layers.Flatten(), layers.BatchNormalization(), layers.Dropout(0.5),
            layers.Dense(6, activation="tanh"), layers.Dense(3),
        ]),
        "keras_lstm": keras.Sequential([keras.Input((4, 3)), layers.LSTM(5), layers.Dense(3)]),
        "keras_rnn": keras.Sequential([
            keras.Input((4, 3)), layers.SimpleRNN(5), layers.LayerNormalization(), layers.Dense(3),
        ]),
    }


def randomised(array, random):
    """Weights that are all different, positive where they may be variances."""
    return random.uniform(0.2, 0.8, array.shape).astype(np.float32) * random.choice([-1, 1], array.shape).astype(np.float32)


def main():
    OUT.mkdir(exist_ok=True)
    torch.set_num_threads(1)
    random = np.random.default_rng(7)
    for name, (shape, model) in torch_networks().items():
        state = model.state_dict()
        for key, tensor in state.items():
            if tensor.dtype == torch.float32:
                values = randomised(tensor, random)
                state[key] = torch.from_numpy(np.abs(values) if key.endswith("running_var") else values)
        model.load_state_dict(state)
        model.eval()
        x = random.normal(size=(SAMPLES, *shape)).astype(np.float32)
        with torch.no_grad():
            y = torch.softmax(model(torch.from_numpy(x)), 1).numpy()
        save_file(model.state_dict(), OUT / f"{name}.safetensors")
        if len(shape) == 3:
            x = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
        np.savez(OUT / f"{name}.samples.npz", x, y)
    for name, model in keras_networks().items():
        weights = [randomised(array, random) for array in model.get_weights()]
        # The fourth of every normalisation of a batch is its variance.
        at = 0
        for layer in model.layers:
            if isinstance(layer, layers.BatchNormalization):
                weights[at + 3] = np.abs(weights[at + 3])
            at += len(layer.get_weights())
        model.set_weights(weights)
        x = random.normal(size=(SAMPLES, *model.input_shape[1:])).astype(np.float32)
        y = keras.ops.convert_to_numpy(keras.ops.softmax(model(x, training=False)))
        np.savez(OUT / f"{name}.npz", *model.get_weights())
        np.savez(OUT / f"{name}.samples.npz", x, y)


main()
