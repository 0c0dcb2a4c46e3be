"""Trains a recipe with Keras on TensorFlow, by `fit`, as the reports did. A variant is a list of words
joined by "+": fit (XLA compiles the step) or graph (TensorFlow's own kernels run it, with oneDNN), and
optionally many (a call of the step runs 50 batches) and unroll (of the recurrent layer)."""

import os
import sys
import time

import protocol
from recipes import LEAKY_SLOPE, RECIPES, Conv, Dense, Dropout, Flatten, Lstm, Norm, Pool
from samples import load

args = protocol.arguments("keras")
words = args.variant.split("+")
os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "",
               "OMP_NUM_THREADS": str(args.threads)}

import keras
import tensorflow as tf

tf.config.threading.set_intra_op_parallelism_threads(args.threads)
tf.config.threading.set_inter_op_parallelism_threads(args.threads)
keras.utils.set_random_seed(args.seed)


def layer_of(layer):
    activation = getattr(layer, "activation", None)
    if activation == "leaky":
        activation = lambda z: keras.ops.leaky_relu(z, LEAKY_SLOPE)
    match layer:
        case Dense(units):
            return keras.layers.Dense(units, activation=activation)
        case Conv(filters, padding):
            return keras.layers.Conv2D(filters, 3, padding=padding, activation=activation)
        case Pool():
            return keras.layers.MaxPooling2D(2)
        case Flatten():
            return keras.layers.Flatten()
        case Dropout(rate):
            return keras.layers.Dropout(rate)
        case Norm(momentum, epsilon):
            return keras.layers.BatchNormalization(momentum=momentum, epsilon=epsilon)
        case Lstm(units):
            return keras.layers.LSTM(units, unroll="unroll" in words)


class Laps(keras.callbacks.Callback):
    """Stops the clock every quarter of a second of an epoch, or after a shorter epoch."""

    def __init__(self, clock, batch):
        super().__init__()
        self.clock, self.batch, self.done, self.lapped = clock, batch, 0, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.done = self.lapped = 0
        self.clock.start()

    def on_train_batch_end(self, step, logs=None):
        # The last one of those that a call has run; the last call of an epoch may have run fewer.
        self.done = min(step + 1, self.params["steps"])
        if time.perf_counter() - self.clock.last[0] > 0.25:
            self.lap()

    def on_epoch_end(self, epoch, logs=None):
        if self.lapped == 0:
            self.lap()

    def lap(self):
        self.model.stop_training |= self.clock.lap((self.done - self.lapped) * self.batch)
        self.lapped = self.done


def batches(recipe, x, y):
    """Batches picked anew in every epoch, by the thread that trains: the pipeline that `fit` makes of arrays
    hands each batch from thread to thread, and leaves a single core idle for half of the time."""
    x, y = tf.constant(x), tf.constant(y)

    def epoch(_):
        order = tf.range(len(x))
        order = tf.random.shuffle(order) if recipe.shuffle else order
        return tf.data.Dataset.from_tensor_slices(order).batch(recipe.batch)

    pick = lambda picks: (tf.gather(x, picks), tf.gather(y, picks))
    data = tf.data.Dataset.range(1).flat_map(epoch).map(pick)
    options = tf.data.Options()
    options.autotune.enabled = False
    options.threading.max_intra_op_parallelism = 1
    steps = -(-len(x) // recipe.batch)
    return data.with_options(options).apply(tf.data.experimental.assert_cardinality(steps))


def main():
    recipe = RECIPES[args.recipe]
    samples = load(recipe, args.data, args.seed)
    x, x_test = (samples.scaled(x, recipe.shape) for x in (samples.x, samples.x_test))
    model = keras.Sequential([keras.Input(recipe.shape), *map(layer_of, recipe.layers)])
    if recipe.loss == "binary":
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
    else:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.Adam if recipe.optimizer == "adam" else keras.optimizers.SGD
    model.compile(optimizer(recipe.rate), loss, jit_compile="fit" in words,
                  steps_per_execution=50 if "many" in words else 1)

    def fit(epochs, callbacks):
        model.fit(batches(recipe, x, samples.y), epochs=epochs, shuffle=False, verbose=0,
                  callbacks=callbacks)

    version = f"{keras.__version__}, TensorFlow {tf.__version__}"
    epochs = args.epochs or (recipe.epochs if args.check else None)
    if epochs:
        began = time.perf_counter()
        fit(epochs, [])
        seconds = time.perf_counter() - began
        logits = model.predict(x_test, batch_size=500, verbose=0)
        predicted = logits[:, 0] > 0 if recipe.loss == "binary" else logits.argmax(1)
        accuracy = float((predicted == samples.y_test).mean())
        protocol.report(args, "keras", version, epochs=epochs, train_seconds=seconds, test_accuracy=accuracy)
    else:
        clock = protocol.Clock(args.seconds)
        fit(sys.maxsize, [Laps(clock, recipe.batch)])
        protocol.report(args, "keras", version, **clock.result())


main()
