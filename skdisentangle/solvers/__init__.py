"""The heads and the basis of the components, as functions of tensors and arrays."""
