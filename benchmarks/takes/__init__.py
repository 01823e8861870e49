"""Simulated takes: what microphones and amplifiers bring home from a jam, with the exact truth beside it.

`sources` plays single sounds, `rooms` adds what a room adds, `simulated_take` lets players play in a room and writes down the
truth, `scoring` compares found segments with it. Everything is made on the spot from a seed; recorded sounds are optional.
"""
