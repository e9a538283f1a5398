"""The application ``barevision.serving.wsgi:app``, which each of Gunicorn's workers imports after the fork."""

from barevision.api import create_app
from barevision.api.logs import configure_logging
from barevision.detector import load_detector
from barevision.serving.worker import current_process
from barevision.settings import load_settings

settings = load_settings()
configure_logging(settings.log_level)
process = current_process()
detector = load_detector(settings, measures=True, process=process)
app = create_app(detector, process)
if process:
    process.numbers.wanted = detector.engine.plan.processes
