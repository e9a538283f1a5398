"""The tutorial's request.py: posts a picture to a service and draws what it finds.

    python examples/request.py http://HOST/predict photo.jpg annotated.jpg

Needs requests and opencv-python-headless, and nothing of Barevision.
"""

import json
import sys

import cv2
import requests

if len(sys.argv) != 4:
    sys.exit(__doc__)
url, source, target = sys.argv[1:]
image = cv2.imread(source)
_, encoded = cv2.imencode(".jpg", image)
response = requests.post(url, data=encoded.tobytes(), headers={"content-type": "image/jpg"}, timeout=60)
response.raise_for_status()

for detection in json.loads(response.text):
    x, y, width, height = detection["boxes"]
    text = f"{detection['label']}: {detection['confidence']:.4f}"
    print(text)
    cv2.rectangle(image, (x, y), (x + width, y + height), detection["color"], 2)
    cv2.putText(image, text, (x, y - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.5, detection["color"], 2)
cv2.imwrite(target, image)
