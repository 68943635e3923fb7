"""Weights that both sides can make: every element from an integer hash of the tensor's name and the element's index, so
that a model of any size is checked without storing it. tests/models/hash_weights.hpp does the same."""
import numpy as np


def fnv1a(text):
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = (h ^ byte) * 0x100000001B3 % 2**64
    return h


def uniform(name, count):
    """Numbers in [-1, 1) with 24 bits: splitmix64 of the name's hash and the index."""
    with np.errstate(over="ignore"):
        z = np.uint64(fnv1a(name)) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(40)).astype(np.float32) * np.float32(2**-23) - np.float32(1)


def fill(name, shape):
    """Matrices have variance 1 / fan-in; scales and variances lie around 1, biases and means around 0."""
    count = int(np.prod(shape))
    u = uniform(name, count)
    if len(shape) >= 2:
        u *= np.float32(np.sqrt(3.0 / (count / shape[0])))
    elif name.endswith(("weight", "running_var")):
        u = np.float32(1) + np.float32(0.25) * u
    else:
        u *= np.float32(0.1)
    return u.reshape(shape)
