"""The bytes of a target, from servers that nobody has to trust to where they belong.

Rules:

1. One pass: network, hash, destination. Never more than the signed length is read, and what
   arrived is believed only when all of it is there and every hash agrees that was signed.
2. What was flushed is not fetched again: after a lost network, a kill or a power cut the download
   goes on where it stood, with whatever server there is (``record``).
3. A server that fails is followed by the next, where the one before stopped. Wrong bytes cannot be
   laid at the door of one of several: they are all dropped, and each server is tried alone, once.
4. Nothing is spent in silence: a budget bounds what an order's image may cost (``record``), and
   falling from a delta to the whole image is decided against it, and said.
"""
