"""The network: whitening, attention, blocks, heads, and the model that holds them."""
