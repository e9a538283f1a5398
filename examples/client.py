"""Asks a service through Barevision's own client, which waits its turn when the service is busy.

python examples/client.py http://HOST photo.jpg annotated.jpg
"""

import sys
from pathlib import Path

from barevision.client import Client

if len(sys.argv) != 4:
    sys.exit(__doc__)
url, source, target = sys.argv[1:]
with Client(url, timeout=60) as client:
    for detection in client.predict(source, confidence=0.5):
        x, y, width, height = detection.box
        print(f"{detection.label}: {detection.confidence:.4f}, {width}x{height} at {x},{y}")
    Path(target).write_bytes(client.annotate(source, confidence=0.5))
