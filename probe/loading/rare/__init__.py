"""Readers of rarer files: Chainer, MXNet, MindSpore, Paddle, DyNet, Keras 1, TensorFlow.js, pickled objects."""
