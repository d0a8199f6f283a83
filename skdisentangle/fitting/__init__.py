"""How a disentangler is fitted."""
