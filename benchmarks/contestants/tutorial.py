"""The tutorial's server, written anew after its description, and its network in a warm loop.

A Flask app with one route. Each request reads the network's .cfg and .weights with OpenCV 4's Darknet importer, makes
the blob, runs the network and goes through its rows in Python. `BENCH_TASK` has the paths cfg and weights, and labels
and size as work.py says.
"""

import json
import os

import cv2
import numpy as np
from flask import Flask, Response, request

TASK = json.loads(os.environ["BENCH_TASK"])
CONFIDENCE, NMS = 0.5, 0.3

app = Flask(__name__)


@app.post("/predict")
def predict():
    return Response(json.dumps(detect(load_network(), request.data)), mimetype="application/json")


@app.get("/healthz")
def healthz():
    return "ok"


def load_network():
    return cv2.dnn.readNetFromDarknet(TASK["cfg"], TASK["weights"])


def detect(network, picture):
    image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    height, width = image.shape[:2]
    np.random.seed(42)
    colors = np.random.randint(0, 255, size=(len(TASK["labels"]), 3), dtype="uint8")
    blob = cv2.dnn.blobFromImage(image, 1 / 255.0, tuple(TASK["size"][::-1]), swapRB=True, crop=False)
    network.setInput(blob)
    boxes, confidences, classes = [], [], []
    for output in network.forward(network.getUnconnectedOutLayersNames()):
        for row in output:
            scores = row[5:]
            label = np.argmax(scores)
            if scores[label] > CONFIDENCE:
                x, y, w, h = (row[:4] * np.array([width, height, width, height])).astype("int")
                boxes.append([int(x - w / 2), int(y - h / 2), int(w), int(h)])
                confidences.append(float(scores[label]))
                classes.append(label)
    return [
        {
            "boxes": boxes[index],
            "color": colors[classes[index]].tolist(),
            "label": TASK["labels"][classes[index]],
            "confidence": confidences[index],
        }
        for index in np.array(cv2.dnn.NMSBoxes(boxes, confidences, CONFIDENCE, NMS), int).flatten()
    ]
