"""What Gunicorn imports: ``barevision.wsgi:app``. Imported in each worker, after the fork."""

from barevision.api import create_app
from barevision.detector import load_detector
from barevision.settings import load_settings

app = create_app(load_detector(load_settings()))
