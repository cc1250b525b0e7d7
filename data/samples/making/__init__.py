"""The parts of the sample generator: prices, traffic, faults, wire formats, bills and the truth."""
