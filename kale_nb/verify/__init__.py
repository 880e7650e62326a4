"""Proof that a notebook and its pipeline say the same: both are run, and their outputs compared step by step."""
