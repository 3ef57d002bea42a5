"""Prints what an address answers."""

import sys
import urllib.request

with urllib.request.urlopen(sys.argv[1], timeout=2) as answer:
    print(answer.read().decode())
