"""A network's logits and their derivatives along a direction; imports torch, `networks` and `maths/tensors`."""
