"""Plain Flask, for Gunicorn: a session that all threads of a process share."""

from flask import Flask, jsonify, request
from work import Work

app = Flask(__name__)
work = Work()


@app.post("/predict")
def predict():
    return jsonify(work(request.get_data()))


@app.get("/healthz")
def healthz():
    return "ok"
