#!/usr/bin/env python3
"""Writes own.keras: x [3] -> Scale (a custom layer with the weight `factor` = 2, 3, 4) -> Lambda -> Dense, with Keras 3."""
import os
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
import keras, numpy as np


@keras.saving.register_keras_serializable("shop")
class Scale(keras.layers.Layer):
    def __init__(self, power=1, **kw):
        super().__init__(**kw)
        self.power = power

    def build(self, shape):
        self.factor = self.add_weight(name="factor", shape=(shape[-1],))

    def call(self, x):
        return x * self.factor ** self.power

    def get_config(self):
        return {**super().get_config(), "power": self.power}


x = keras.Input((3,), name="x")
s = Scale(power=2, name="s")
y = s(x)
s.set_weights([np.array([2, 3, 4], "float32")])
l = keras.layers.Lambda(lambda t: t + 1, output_shape=(3,), name="l")
d = keras.layers.Dense(2, name="d")
z = d(l(y))
d.set_weights([np.arange(6, dtype="float32").reshape(3, 2), np.zeros(2, "float32")])
model = keras.Model(x, [y, z], name="own")
model.save(os.path.join(os.path.dirname(os.path.abspath(__file__)), "own.keras"))
print(model.predict(np.array([[1, 2, 3]], "float32"), verbose=0))
