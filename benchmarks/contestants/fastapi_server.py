"""FastAPI, for Uvicorn: the work is done in Starlette's threads, so that the event loop stays free."""

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from work import Work

app = FastAPI()
work = Work()


@app.post("/predict")
async def predict(request: Request):
    return JSONResponse(await run_in_threadpool(work, await request.body()))


@app.get("/healthz")
async def healthz():
    return "ok"
