"""The fourteen recipes of the reports and the three records as data, and the variants in which each peer trains
them. Every peer walks this list. It repeats src/reports/*.rs in Python: layers, loss, optimizer, batch and
sample counts have to agree with that."""

from dataclasses import dataclass, replace

SIDE = 28


@dataclass(frozen=True)
class Dense:
    units: int
    activation: str = "linear"


@dataclass(frozen=True)
class Conv:
    """3x3, stride 1, with bias."""

    filters: int
    padding: str
    activation: str


@dataclass(frozen=True)
class Pool:
    """2x2 maxima; an odd last row or column is dropped."""


@dataclass(frozen=True)
class Norm:
    """Batch normalisation per channel; the moving averages keep `momentum` of themselves in a step."""

    momentum: float = 0.99
    epsilon: float = 1e-3


@dataclass(frozen=True)
class Dropout:
    rate: float


@dataclass(frozen=True)
class Flatten:
    pass


@dataclass(frozen=True)
class Lstm:
    """Returns the last hidden state; the forget gate's bias starts at one."""

    units: int


@dataclass(frozen=True)
class Recipe:
    name: str
    layers: tuple
    batch: int = 32
    epochs: int = 10
    optimizer: str = "adam"  # or "sgd", or "adamw" with the decay below
    rate: float = 1e-3
    decay: float = 0.0  # of weights; biases and normalisations do not decay
    one_cycle: tuple = ()  # the rate's schedule: share of the steps in which it rises, first and last share of the rate
    loss: str = "softmax"  # or "binary": one sigmoid output
    smoothing: float = 0.0  # share of each label that is spread evenly over all classes
    flip: bool = False  # half of the training images are mirrored left to right
    test_flip: bool = False  # outputs are averaged over each test image and its mirror image
    input: str = "pixels"  # [784]; "image": [28, 28, 1]; "rows": [28, 28]
    classes: tuple = tuple(range(10))
    split: str = "filed"  # "merged": train and test merged, shuffled, cut by the two shares
    test: float = 0.0
    held_out: float = 0.0  # share kept for validation: not trained on, not tested on here
    standardise: bool = False
    shuffle: bool = True

    @property
    def shape(self):
        """Of one input."""
        return {"pixels": (SIDE * SIDE,), "image": (SIDE, SIDE, 1), "rows": (SIDE, SIDE)}[self.input]


# Adam's and the leaky ReLU's constants, which all recipes share; SGD has no momentum.
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-7
LEAKY_SLOPE = 0.1


def _recipes():
    biu = Recipe("biu", (), classes=(0, 1), optimizer="sgd", rate=0.01)
    biu_relu = (Dense(150, "relu"), Dense(40, "relu"), Dense(2))
    yield replace(biu, name="biu-scratch", layers=(Dense(32, "sigmoid"), Dense(1)), loss="binary",
                  rate=0.05, batch=1, shuffle=False)
    yield replace(biu, name="biu-base", layers=(Dense(40, "sigmoid"), Dense(2)))
    yield replace(biu, name="biu-relu", layers=biu_relu)
    yield replace(biu, name="biu-adam", layers=biu_relu, optimizer="adam", rate=1e-3, epochs=12)

    yield Recipe("colman-scratch", (Dense(12, "sigmoid"), Dense(1)), loss="binary", batch=1,
                 optimizer="sgd", rate=0.1, epochs=20, classes=(9, 3), split="merged", test=1 / 7)

    nlp = Recipe("nlp", (), split="merged", test=0.15)
    yield replace(nlp, name="nlp-softmax", layers=(Dense(10),))
    yield replace(nlp, name="nlp-mlp80", layers=(Dense(80, "relu"), Dense(80, "relu"), Dense(10)))
    yield replace(nlp, name="nlp-mlp300", layers=(Dense(300, "relu"), Dense(10)), test=0.10,
                  held_out=0.09)
    yield replace(nlp, name="nlp-cnn", input="image", epochs=8, layers=(
        Conv(32, "valid", "leaky"), Norm(), Pool(),
        Conv(64, "valid", "leaky"), Norm(), Pool(),
        Conv(64, "valid", "leaky"), Norm(), Flatten(),
        Dense(64, "leaky"), Dropout(0.3), Dense(10)))
    yield replace(nlp, name="nlp-rnn", input="rows", layers=(Lstm(64), Dense(10)))

    yield Recipe("comp475-cnn", input="image", batch=64, held_out=0.2, layers=(
        Conv(32, "valid", "relu"), Pool(), Conv(64, "valid", "relu"), Pool(),
        Conv(64, "valid", "relu"), Flatten(), Dense(64, "relu"), Dense(64, "relu"), Dense(10)))

    yield Recipe("cse574-one-hidden", (Dense(128, "sigmoid"), Dense(10)), optimizer="sgd", rate=0.03,
                 epochs=50, standardise=True)
    yield Recipe("cse574-mlp", (Dense(512, "relu"), Dense(256, "relu"), Dense(128, "relu"), Dense(10)),
                 rate=1e-4, batch=256, epochs=15)
    yield Recipe("cse574-cnn", input="image", batch=64, layers=(
        Conv(64, "same", "relu"), Dropout(0.2), Pool(), Conv(32, "same", "relu"), Dropout(0.2), Pool(),
        Flatten(), Dense(256, "relu"), Dense(10)))


def _records():
    norm = Norm(momentum=0.9)
    record = Recipe("record", (), input="image", batch=128, held_out=0.02, optimizer="adamw", rate=0.01,
                    decay=0.01, one_cycle=(0.25, 0.04, 1e-4))
    regularised = replace(record, smoothing=0.1, flip=True)
    small = (Conv(32, "same", "relu"), Pool(), norm, Conv(64, "valid", "relu"), Pool(), norm,
             Conv(128, "valid", "relu"), norm, Flatten())
    yield replace(record, name="record-92", epochs=3, layers=(*small, Dense(10)))
    yield replace(regularised, name="record-93", epochs=10, layers=(*small, Dropout(0.3), Dense(10)))
    conv = lambda filters: Conv(filters, "same", "relu")
    large = (conv(32), Pool(), norm, conv(64), norm, conv(64), Pool(), norm,
             conv(128), norm, conv(128), Pool(), norm, Flatten())
    yield replace(regularised, name="record-94", epochs=14, rate=0.005, decay=0.05, test_flip=True,
                  layers=(*large, Dropout(0.3), Dense(10)))


REPORTS = [recipe.name for recipe in _recipes()]
RECIPES = {recipe.name: recipe for recipe in (*_recipes(), *_records())}


PEERS = ("jax", "torch", "keras", "candle")


def variants(peer, recipe):
    """Words joined by "+", which the peer's program explains: all ways of training the recipe that are
    worth measuring, the likely best first. None where the peer's program cannot train it."""
    if recipe.optimizer == "adamw":
        return ["compiled+channels-last", "eager+channels-last", "eager+channels-last+bf16",
                "compiled+channels-last+bf16", "compiled", "eager"] if peer == "torch" else []
    if recipe.input == "image":
        ways = {"jax": ["scan+im2col", "step", "step+im2col"],
                "torch": ["compiled+channels-last", "eager+channels-last", "compiled", "eager"],
                "keras": ["graph", "fit"],
                "candle": ["own"]}[peer]
        # Masks are expensive on feature maps, not on the 64 units of nlp-cnn.
        if isinstance(recipe.layers[1], Dropout) and peer in ("torch", "candle"):
            ways = [f"{way}+mask" for way in ways] + ways
    elif recipe.input == "rows":
        ways = {"jax": ["scan", "scan+unroll"], "torch": ["compiled", "eager"],
                "keras": ["graph+many+unroll", "graph+many", "fit"], "candle": ["own"]}[peer]
    else:
        ways = {"jax": ["scan", "scan+unroll"], "torch": ["compiled", "compiled+many", "eager"],
                "keras": ["graph+many", "fit+many", "fit"], "candle": ["own"]}[peer]
    return ways
