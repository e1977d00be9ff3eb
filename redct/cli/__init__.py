"""The command line: it wires the floors below and computes nothing itself."""
